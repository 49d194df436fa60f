"""Features on disk: what ``descriptor.transform_to`` writes, chunk by chunk, and how it is read again.

Formats are ``npy`` (memory-mapped arrays of NumPy), ``hdf5`` and ``zarr``. ``docs/large_data.md`` shows their layout.
"""

from castile.storage._store import FeatureStore, open_features

__all__ = ["FeatureStore", "open_features"]
