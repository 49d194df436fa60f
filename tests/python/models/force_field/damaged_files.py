"""Model files with changes, with and without sums that fit."""

import hashlib
import zipfile


def rebuilt(path, change=None, *, sums=True, compression=zipfile.ZIP_STORED):
    """Write a model file anew with other members, and sums that fit them."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name != "SHA256SUMS"}
    if change is not None:
        change(members)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
        if sums:
            lines = [f"{hashlib.sha256(members[name]).hexdigest()}  {name}\n" for name in sorted(members)]
            archive.writestr("SHA256SUMS", "".join(lines))


def write_new(path, data):
    """Write a file anew: some systems wait for the disk when one is cut and written again."""
    path.unlink()
    path.write_bytes(data)


def mutated(data, rng, number):
    """Return bytes with one change, or sometimes several; every kind and place has its turn."""
    bad = bytearray(data)
    for _ in range(1 + (number % 7 == 0) * rng.randrange(4)):
        place = rng.randrange(len(bad) + 1)
        kind = number % 6
        if kind == 0 and place < len(bad):
            bad[place] ^= 1 << rng.randrange(8)
        elif kind == 1 and place < len(bad):
            bad[place] = rng.randrange(256)
        elif kind == 2:
            del bad[place : place + rng.choice([1, 1, 2, 8, 64])]
        elif kind == 3:
            bad[place:place] = rng.randbytes(rng.choice([1, 1, 2, 8, 64]))
        elif kind == 4:
            del bad[place:]
        else:
            start, length = rng.randrange(len(bad) + 1), rng.randrange(100)
            bad[place : place + length] = bad[start : start + length]
    return bytes(bad)
