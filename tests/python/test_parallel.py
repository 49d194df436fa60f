"""Threads, interrupts, forks and other processes."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ase import Atoms
from checks import same_bits

import castile
from castile import _core
from castile.errors import InputError

needs_posix = pytest.mark.skipif(os.name != "posix", reason="forks and signals of POSIX")
needs_openmp = pytest.mark.skipif(not _core.openmp_enabled(), reason="built without OpenMP: always one thread")


@pytest.fixture(autouse=True)
def default_threads():
    """Leave the process as it was."""
    yield
    castile.set_num_threads(None)


def crystal(n):
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1).reshape(-1, 3) * 2.2
    positions = grid + rng.uniform(-0.3, 0.3, grid.shape)
    return Atoms(rng.choice(["Cu", "Zn"], len(grid)), positions=positions, cell=[2.2 * n] * 3, pbc=True)


def soap(**options):
    sizes = {"cutoff": 4.0, "n_max": 4, "l_max": 4, "species": ["Cu", "Zn"], "average": "outer"}
    return castile.SOAP(**{**sizes, **options})


def long_work():
    """A frame and a descriptor whose transform takes about a second on one thread of a fast machine."""
    return soap(cutoff=9.0, n_max=12, l_max=12, average="inner"), [crystal(20)]


# ---------------------------------------------------------------- numbers of threads


@needs_openmp
def test_the_number_of_threads_can_be_set_and_restored():
    default = castile.num_threads()
    assert default >= 1
    castile.set_num_threads(3)
    assert castile.num_threads() == 3
    castile.set_num_threads(np.int64(2))
    assert castile.num_threads() == 2
    castile.set_num_threads(None)
    assert castile.num_threads() == default


@needs_openmp
def test_threads_nest_and_restore_what_was_there_before():
    default = castile.num_threads()
    with castile.threads(3):
        assert castile.num_threads() == 3
        with castile.threads(1):
            assert castile.num_threads() == 1
        assert castile.num_threads() == 3
        castile.set_num_threads(5)
        assert castile.num_threads() == 3  # the block is nearer
    assert castile.num_threads() == 5
    castile.set_num_threads(None)
    with pytest.raises(RuntimeError, match="inside"), castile.threads(4):
        raise RuntimeError("inside")
    assert castile.num_threads() == default


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "two", "2", None, [1], np.nan, np.inf])
def test_numbers_of_threads_that_make_no_sense_are_refused(value):
    message = r"n, the number of threads, must be an integer .*, got"
    with pytest.raises((InputError, castile.InputTypeError), match=message):
        castile.threads(value).__enter__()
    if value is not None:
        with pytest.raises((InputError, castile.InputTypeError), match=message):
            castile.set_num_threads(value)


@pytest.mark.parametrize("value", [2**31, 2**40])
def test_numbers_of_threads_beyond_any_machine_are_refused(value):
    for call in (castile.set_num_threads, lambda n: castile.threads(n).__enter__()):
        with pytest.raises(InputError, match="number of threads"):
            call(value)


@needs_openmp
def test_threads_hold_for_the_python_thread_that_asked():
    seen = {}
    inside, done = threading.Event(), threading.Event()

    def other():
        inside.wait(30)
        seen["other"] = castile.num_threads()
        with castile.threads(7):
            seen["own"] = castile.num_threads()
        done.set()

    default = castile.num_threads()
    thread = threading.Thread(target=other)
    thread.start()
    with castile.threads(default + 3):
        inside.set()
        assert done.wait(30)
        assert castile.num_threads() == default + 3
    thread.join(30)
    assert seen == {"other": default, "own": 7}


@needs_openmp
def test_omp_num_threads_and_threadpoolctl_are_obeyed():
    script = "import castile; print(castile.num_threads())"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout.strip() == "1"
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="openmp"):
        assert castile.num_threads() == 1


def test_several_python_threads_may_share_one_descriptor():
    frames, descriptor = [crystal(3), crystal(2)], soap(average="off")
    expected = descriptor.transform(frames)
    g = descriptor.vjp(frames, expected)
    failures = []

    def work():
        for _ in range(5):
            if not same_bits(descriptor.transform(frames), expected):
                failures.append("transform")
            if not same_bits(descriptor.vjp(frames, expected).positions, g.positions):
                failures.append("vjp")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures


def test_other_python_threads_run_during_a_transform():
    """The interpreter's lock is released: a counter goes on while the core works in one single call."""
    descriptor, frames = long_work()
    stamps = []
    stop = threading.Event()

    def count():
        while not stop.is_set():
            stamps.append(time.monotonic())
            time.sleep(0.002)

    thread = threading.Thread(target=count)
    thread.start()
    try:
        start = time.monotonic()
        with castile.threads(1):
            descriptor.transform(frames)
        end = time.monotonic()
    finally:
        stop.set()
        thread.join(30)
    during = [stamp for stamp in stamps if start < stamp < end]
    assert end - start > 0.1, "the work is too short to tell"
    # With the lock held through the call, the counter could run at its two ends only.
    middle = [stamp for stamp in during if 0.25 < (stamp - start) / (end - start) < 0.75]
    assert len(middle) >= 5


# ---------------------------------------------------------------- interrupts


@needs_posix
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("method", ["transform", "vjp", "jvp", "jacobian"])
def test_ctrl_c_stops_long_work_cleanly(method, n_threads):
    script = textwrap.dedent(f"""
        import signal, sys, threading, time
        import numpy as np
        import castile
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        from test_parallel import crystal, soap
        descriptor = soap(cutoff=9.0, n_max=10, l_max=10, average="outer")
        small = crystal(2)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background ignores it
        X = descriptor.transform(small)
        frames = [crystal(11)] * 100
        method = {method!r}
        arguments = [np.ones((len(frames), X.shape[1]))] if method == "vjp" else []
        if method == "jacobian":
            frames, descriptor = [crystal(6)] * 6, soap(cutoff=9.0, n_max=6, l_max=6, average="off")
        with castile.threads({n_threads}):
            print("started", flush=True)
            start = time.monotonic()
            try:
                getattr(descriptor, method)(frames, *arguments)
            except KeyboardInterrupt:
                print("interrupted", time.monotonic() - start, flush=True)
            again = descriptor.transform(small)
        print("still works", np.isfinite(again).all(), flush=True)
    """)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    watchdog = threading.Timer(90.0, process.kill)
    watchdog.start()
    try:
        line = process.stdout.readline()
        assert line == "started\n", line + process.stdout.read()
        time.sleep(0.5)
        assert process.poll() is None, "the work ended before it could be interrupted"
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        line = process.stdout.readline()
        waited = time.monotonic() - sent
        rest = process.stdout.read()
        process.wait(60)
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
    assert line.startswith("interrupted"), line + rest
    assert waited < 4.0  # well below a second on an idle machine
    assert "still works True" in rest
    assert process.returncode == 0


# ---------------------------------------------------------------- other processes


def work_in_child(queue, frames, options):
    """Run by a forked child."""
    queue.put(soap(**options).transform(frames))


@needs_posix
@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_forked_child_computes_the_same_after_parallel_work_in_its_parent(n_threads):
    """libgomp's threads do not survive a fork; a child that waited for them would hang for ever."""
    frames, options = [crystal(3), crystal(4)], {"average": "off"}
    with castile.threads(n_threads):
        expected = soap(**options).transform(frames)
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        with warnings.catch_warnings():
            # From Python 3.12 on, forking a process that has threads is warned about: that is the case here.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = context.Process(target=work_in_child, args=(queue, frames, options))
            child.start()
        try:
            result = queue.get(timeout=60)
            child.join(60)
            assert child.exitcode == 0
        finally:
            child.kill()
        assert same_bits(result, expected)
        assert same_bits(soap(**options).transform(frames), expected)


@needs_posix
def test_a_plain_fork_is_survived_with_all_gradients():
    frames = [crystal(3)]
    descriptor = soap(average="off")
    with castile.threads(2):
        X = descriptor.transform(frames)
        expected = descriptor.vjp(frames, X).positions
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:  # the child: nothing of pytest may run here
            code = 1
            try:
                same = same_bits(descriptor.vjp(frames, X).positions, expected)
                descriptor.jvp(frames, np.ones((27, 3)))
                descriptor.jacobian(frames[0][:4])
                code = 0 if same and castile.num_threads() == 1 else 2
            finally:
                os._exit(code)
        deadline = time.monotonic() + 60
        done, status = 0, None
        while not done and time.monotonic() < deadline:
            done, status = os.waitpid(pid, os.WNOHANG)
            time.sleep(0.02)
        if not done:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        assert done, "the forked child hung"
        assert os.waitstatus_to_exitcode(status) == 0


def test_spawned_processes_compute_the_same_bits():
    frames = [crystal(2), crystal(3)]
    context = multiprocessing.get_context("spawn")
    expected = soap().transform(frames)
    with context.Pool(1) as pool:
        result = pool.apply_async(soap().transform, (frames,)).get(timeout=120)
    assert same_bits(result, expected)


def test_a_daemon_thread_inside_a_transform_does_not_abort_the_process_at_exit():
    script = """
import threading, time
import castile
from ase.build import bulk

soap = castile.SOAP(species=["Si"], cutoff=7.0)
atoms = bulk("Si", cubic=True) * (8, 8, 8)
threading.Thread(target=lambda: [soap.transform(atoms) for _ in range(1000)], daemon=True).start()
time.sleep(0.5)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@needs_openmp
def test_threads_that_work_at_once_are_told_what_each_could_have_alone():
    castile.set_num_threads(4)
    with ThreadPoolExecutor(3) as pool:
        assert [future.result() for future in [pool.submit(castile.num_threads) for _ in range(6)]] == [4] * 6
