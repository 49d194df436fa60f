"""What the columns of a feature matrix are: as arrays with an axis for each index, and in other libraries' orders.

:func:`to_array` gives the columns of a descriptor their axes, :func:`from_array` flattens them again:

======================  ===========================================================================================
descriptor              axes that take the place of the columns
======================  ===========================================================================================
``SphericalExpansion``  (species a, n, lm), with lm = l² + l + m: :func:`lm_index`, :func:`split_degrees`
``RadialSpectrum``      (species a, n)
``SOAP``                (species a, n, species a', n', l): the full, symmetric tensor, without the √2 of the rows
======================  ===========================================================================================

:func:`to_dscribe` and :func:`from_dscribe` convert rows of a power spectrum to those of DScribe and back,
:func:`to_featomic` and :func:`from_featomic` rows of every descriptor to featomic's blocks and back. Species are
sorted by atomic number everywhere. Neither library needs to be installed.

All are linear. Those that act on the last axis convert derivatives as they are: of ``jvp``, of a dense Jacobian or of
strain; for featomic's gradients there are :func:`jacobian_from_featomic` and :func:`strain_from_featomic`.
"""

from castile.layouts.arrays import (
    degree_slice,
    from_array,
    join_degrees,
    lm_index,
    split_degrees,
    to_array,
)
from castile.layouts.dscribe import from_dscribe, to_dscribe
from castile.layouts.featomic import (
    FeatomicBlock,
    FeatomicGradient,
    featomic_parameters,
    from_featomic,
    jacobian_from_featomic,
    strain_from_featomic,
    to_featomic,
)

__all__ = [
    "FeatomicBlock",
    "FeatomicGradient",
    "degree_slice",
    "featomic_parameters",
    "from_array",
    "from_dscribe",
    "from_featomic",
    "jacobian_from_featomic",
    "join_degrees",
    "lm_index",
    "split_degrees",
    "strain_from_featomic",
    "to_array",
    "to_dscribe",
    "to_featomic",
]
