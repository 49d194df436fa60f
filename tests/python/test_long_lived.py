"""Processes that live long: thousands of calls take no more memory than the first ones."""

import os

import pytest
from stream_cases import run_script

# Bytes that the process may grow by in all calls of one kind together. A leak of 128 bytes a call would be seen.
BOUND = 256 * 1024
CALLS = 2000

SCRIPT = (
    f"BOUND = {BOUND}"
    + """
import gc, os, sys, tempfile, threading
import numpy as np
from ase.build import bulk, molecule
import castile

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

options = dict(cutoff=3.5, n_max=3, l_max=2, species=["H", "O", "Si"])
soap, sparse = castile.SOAP(**options), castile.SOAP(**options, sparse=True, dtype="float32")
average = castile.SOAP(**options, average="inner", normalize=True)
frames = [bulk("Si", cubic=True), molecule("H2O")]
X, velocities = soap.transform(frames), np.ones((11, 3))
folder = tempfile.TemporaryDirectory()
os.fsync = lambda descriptor: None

def in_a_new_thread():
    thread = threading.Thread(target=soap.transform, args=(frames,))
    thread.start()
    thread.join()

def refused():
    try:
        soap.transform([molecule("CH4")])
    except castile.UnknownSpeciesError:
        pass

kinds = dict(
    transform=lambda: soap.transform(frames),
    sparse=lambda: sparse.transform(frames),
    average=lambda: average.vjp(frames, np.ones((2, X.shape[1]))),
    vjp=lambda: soap.vjp(frames, X),
    jvp=lambda: soap.jvp(frames, velocities),
    jacobian=lambda: soap.jacobian(frames),
    iter_transform=lambda: list(soap.iter_transform(iter(frames), chunk_size=1)),
    transform_to=lambda: soap.transform_to(folder.name + "/x.npy", frames, overwrite=True),
    neighbor_list=lambda: castile.neighbor_list("ijSDd", frames[0], 3.5),
    NeighborList=lambda: castile.NeighborList(frames, 3.5),
    refused=refused,
    thread=in_a_new_thread,
)

def grown(call, n_calls):
    # Bytes by which the process grows in as many calls. What they take once for all may come late, as allocators take
    # arenas of this very size, and some more for threads that happen to meet: a leak shows each time.
    growth = []
    for _ in range(10):
        before = resident()
        for _ in range(n_calls):
            call()
        growth.append(resident() - before)
        if growth[-1] < BOUND // 4:
            break
    return min(growth)
"""
)


@pytest.fixture(autouse=True)
def statm():
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("memory in use is read from /proc")


def test_thousands_of_calls_do_not_take_more_and_more_memory():
    script = f"""
with castile.threads(1):
    for name, call in kinds.items():
        print(name, grown(call, {CALLS} if name not in ("thread", "transform_to") else {CALLS} // 10))
"""
    growth = dict(line.split() for line in run_script(SCRIPT + script).stdout.splitlines())
    assert len(growth) == 12
    assert all(int(n_bytes) <= BOUND for n_bytes in growth.values()), growth


def test_descriptors_that_are_made_again_and_again_do_not_pile_up():
    """Compiled descriptors are shared and kept, but only some of them."""
    script = """
sizes = iter(range(10**6))
def another():
    castile.SOAP(**{**options, "cutoff": 3.5 + 1e-4 * next(sizes)}).transform(frames)
grown(another, 50)
print(grown(another, 300))
"""
    assert int(run_script(SCRIPT + script).stdout) <= BOUND


def test_a_change_of_the_number_of_threads_does_not_pile_up_either():
    script = """
def changed():
    for n in (1, 2, 3):
        castile.set_num_threads(n)
        rows = soap.transform(frames)
        assert rows.tobytes() == X.tobytes()
grown(changed, 20)
print(grown(changed, 60))
"""
    assert int(run_script(SCRIPT + script).stdout) <= 2 * BOUND


def test_a_leak_would_be_seen():
    """The measurement itself: 256 bytes a call that are kept."""
    script = f"""
kept = []
print(grown(lambda: kept.append(bytes(256)), {CALLS}))
"""
    assert int(run_script(SCRIPT + script).stdout) > BOUND
