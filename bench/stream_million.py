"""Stream a million small molecules to disk, break the run off twice, resume it, and check the rows.

    python bench/stream_million.py                          # about 4.4 GB in a temporary folder, removed at the end
    python bench/stream_million.py --frames 2000 --chunk-size 10
    python bench/stream_million.py --format hdf5 --local --dtype float32

Frames are made on the fly and never kept. The run is a process of its own, which is sent SIGINT after 30 % and SIGKILL
after 60 % of the frames; the system tells its peak memory. Fails if a row differs, or if the peak exceeds 1 GiB.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from ase import Atoms

import castile
from castile.storage import open_features

ENDINGS = {"npy": ".npy", "hdf5": ".h5", "zarr": ".zarr"}
SIGNALS = ((0.3, signal.SIGINT), (0.6, signal.SIGKILL))
PEAK_BOUND = 1 << 30  # bytes
CHECKED_FRAMES = 2000


def molecule(k: int) -> Atoms:
    """Return the k-th molecule: a chain of 3 to 8 atoms of H, C, N and O with bonds of 1 to 1.5 Å."""
    rng = np.random.default_rng(k)
    n_atoms = int(rng.integers(3, 9))
    steps = rng.normal(size=(n_atoms, 3))
    steps[:, 0] = np.abs(steps[:, 0]) + 0.5  # chains do not cross themselves
    steps *= (rng.uniform(1.0, 1.5, n_atoms) / np.linalg.norm(steps, axis=1))[:, None]
    return Atoms(numbers=rng.choice([1, 6, 7, 8], n_atoms), positions=np.cumsum(steps, axis=0))


def make_soap(arguments: argparse.Namespace) -> castile.SOAP:
    average = "off" if arguments.local else "inner"
    sizes = {"cutoff": 4.0, "n_max": 4, "l_max": 3, "species": ["H", "C", "N", "O"]}
    return castile.SOAP(**sizes, average=average, dtype=arguments.dtype, sparse=arguments.sparse)


def write(path: Path, arguments: argparse.Namespace) -> None:
    """Do the work, in a process of its own."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a parent in the background may ignore
    frames = map(molecule, range(arguments.frames))
    make_soap(arguments).transform_to(path, frames, chunk_size=arguments.chunk_size, resume=True)


def frames_done(path: Path) -> int:
    """Return how many frames the journal of the unfinished run says are safe."""
    try:
        lines = (path.with_name(f"{path.name}.partial") / "journal.jsonl").read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return 0
    whole = [line for line in lines[-2:] if line.endswith(b"\n")]
    return int(json.loads(whole[-1].partition(b"\t")[0]).get("frames", 0)) if whole else 0


def run(path: Path, arguments: argparse.Namespace, end: tuple[float, signal.Signals] | None) -> int:
    """Start the work, or go on with it, and perhaps end it; return its peak memory in bytes."""
    begun, start = frames_done(path), time.perf_counter()
    child = subprocess.Popen([sys.executable, __file__, *sys.argv[1:], "--write", str(path)], stderr=subprocess.PIPE)
    while end and child.poll() is None and frames_done(path) < end[0] * arguments.frames:
        time.sleep(0.01)
    if end and child.poll() is None:
        child.send_signal(end[1])
    errors = child.stderr.read().decode()
    _, status, usage = os.wait4(child.pid, 0)
    child.stderr.close()
    child.returncode = os.waitstatus_to_exitcode(status)
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if (child.returncode != 0) != bool(end):
        raise SystemExit(f"the run ended with status {child.returncode}, which was not to be\n{errors}")
    done = frames_done(path) if end else arguments.frames
    how = f"ended by {end[1].name}" if end else "finished"
    seconds = time.perf_counter() - start
    print(f"{how}: frames {begun} to {done}, {seconds:.1f} s, peak memory {peak / 2**20:.0f} MiB", flush=True)
    return peak


def check(path: Path, arguments: argparse.Namespace) -> int:
    """Compare some frames' rows with those of transform; return how many rows that were."""
    store, soap = open_features(path), make_soap(arguments)
    frame_of_row = store.samples()["frame"]
    chosen = np.unique(np.random.default_rng(0).integers(0, arguments.frames, CHECKED_FRAMES))
    first, last = (np.searchsorted(frame_of_row, chosen, side) for side in ("left", "right"))
    n_rows = 0
    for k, start, stop in zip(chosen.tolist(), first.tolist(), last.tolist(), strict=True):
        expected, rows = soap.transform(molecule(k)), store.rows(start, stop)
        same = (abs(rows - expected)).max() == 0.0 if arguments.sparse else rows.tobytes() == expected.tobytes()
        if not same or rows.shape != expected.shape:
            raise SystemExit(f"rows {start} to {stop} are not those of frame {k}")
        n_rows += stop - start
    if (
        store.n_frames != arguments.frames
        or frame_of_row[-1] != arguments.frames - 1
        or (np.diff(frame_of_row) < 0).any()
    ):
        raise SystemExit("frames are missing, or not in order")
    print(f"equal to transform, bit for bit: {n_rows} rows of {len(chosen)} frames")
    print(f"{store!r}")
    return n_rows


def parse(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--chunk-size", type=int, default=None)
    parser.add_argument("--format", choices=list(ENDINGS), default="npy")
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    parser.add_argument("--local", action="store_true", help="rows per atom instead of per molecule")
    parser.add_argument("--sparse", action="store_true")
    parser.add_argument("--folder", type=Path, default=None, help="where to make the temporary folder")
    parser.add_argument("--write", type=Path, default=None, help=argparse.SUPPRESS)
    return parser.parse_args(given)


def main() -> None:
    arguments = parse()
    if arguments.write is not None:
        write(arguments.write, arguments)
        return
    folder = Path(tempfile.mkdtemp(dir=arguments.folder))
    try:
        path = folder / f"features{ENDINGS[arguments.format]}"
        print(f"castile {castile.__version__}, {castile._core.instruction_set()}, {castile.num_threads()} threads")
        start = time.perf_counter()
        peak = max(run(path, arguments, end) for end in (*SIGNALS, None))
        seconds = time.perf_counter() - start
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        rate = arguments.frames / seconds
        print(f"all: {arguments.frames} frames in {seconds:.1f} s, {rate:.0f} frames/s with both breaks")
        print(f"{size / 2**30:.2f} GiB on disk, peak memory {peak / 2**20:.0f} MiB")
        check(path, arguments)
        if peak > PEAK_BOUND:
            raise SystemExit("more than 1 GiB of memory was used")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
