"""Structures with reference labels: reading and checking them, and splits into training and test parts.

>>> from castile import data, datasets
>>> dataset = data.read(datasets.load())
>>> train, test = data.split(dataset, 0.2, stratify=True)
>>> len(train), len(test)
(112, 28)
"""

from castile.data.dataset import Dataset
from castile.data.joining import concatenate
from castile.data.noise import Noise
from castile.data.reading import read
from castile.data.splitting import folds, split, split_indices
from castile.data.table import DataTable

__all__ = ["DataTable", "Dataset", "Noise", "concatenate", "folds", "read", "split", "split_indices"]
