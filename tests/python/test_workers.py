"""Workers of other libraries: correct rows, and no more threads than the library leaves to each worker."""

import concurrent.futures
import multiprocessing
import os
import time
import warnings

import joblib
import pytest
from checks import same_bits
from stream_cases import make, molecules

import castile
from castile import _core

PARTS = 6
FRAMES = molecules(30)

pytestmark = pytest.mark.skipif(not _core.openmp_enabled(), reason="built without OpenMP: always one thread")


@pytest.fixture(autouse=True)
def default_threads():
    """Leave the process as it was."""
    yield
    castile.set_num_threads(None)


def part(k):
    """Frames of one task, enough to keep several threads busy."""
    return FRAMES[k::PARTS]


def work(descriptor, k):
    """What a worker does: its rows, the threads that it would use, and those that have come into being."""
    before = n_threads_of_process()
    rows = descriptor.transform(part(k))
    gradients = descriptor.vjp(part(k), rows).positions
    time.sleep(0.05)  # so that every worker gets a task
    return os.getpid(), castile.num_threads(), n_threads_of_process() - before, rows, gradients


def n_threads_of_process():
    return len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else 0


def assert_right(results, n_threads, in_threads=False):
    """Rows are those of this process, and each process used ``n_threads`` threads."""
    soap = make()
    for k, (_, said, grown, rows, gradients) in enumerate(results):
        expected = soap.transform(part(k))
        assert same_bits(rows, expected)
        assert same_bits(gradients, soap.vjp(part(k), expected).positions)
        assert said == n_threads
        if not in_threads:  # where other workers come and go in the same process
            assert grown <= n_threads - 1
    assert len(results) == PARTS


def n_cpus():
    """Threads that are used by default: the CPUs of this process."""
    return castile.num_threads()


@pytest.mark.parametrize(("n_jobs", "inner"), [(2, None), (2, 1), (2, 2), (4, None)])
def test_joblib_processes_share_the_cpus(n_jobs, inner):
    """Loky gives each worker its share of the CPUs by OMP_NUM_THREADS, or what inner_max_num_threads says."""
    with joblib.parallel_config("loky", inner_max_num_threads=inner):
        results = joblib.Parallel(n_jobs)(joblib.delayed(work)(make(), k) for k in range(PARTS))
    share = max(joblib.cpu_count() // n_jobs, 1) if inner is None else inner
    assert_right(results, min(share, n_cpus()))
    assert len({process for process, *_ in results}) > 1


def test_joblib_threads_take_the_number_that_is_set():
    castile.set_num_threads(1)
    results = joblib.Parallel(2, backend="threading")(joblib.delayed(work)(make(), k) for k in range(PARTS))
    assert_right(results, 1, in_threads=True)
    assert {process for process, *_ in results} == {os.getpid()}


def test_joblib_threads_take_a_number_of_their_own():
    def limited(k):
        with castile.threads(2):
            return work(make(), k)

    results = joblib.Parallel(2, backend="threading")(joblib.delayed(limited)(k) for k in range(PARTS))
    assert_right(results, 2, in_threads=True)
    assert castile.num_threads() == n_cpus()


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_pools_take_the_number_that_their_initializer_sets(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("not on this system")
    make().transform(part(0))  # so that a fork meets threads
    context = multiprocessing.get_context(method)
    with warnings.catch_warnings():
        # From Python 3.12 on, forking a process that has threads is warned about: that is the case here.
        warnings.simplefilter("ignore", DeprecationWarning)
        with context.Pool(2, initializer=castile.set_num_threads, initargs=(1,)) as pool:
            results = pool.starmap_async(work, [(make(), k) for k in range(PARTS)], chunksize=1).get(timeout=120)
    assert_right(results, 1)


def test_forked_workers_run_serially_of_themselves():
    make().transform(part(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context = multiprocessing.get_context("fork")
        with context.Pool(2) as pool:
            results = pool.starmap_async(work, [(make(), k) for k in range(PARTS)], chunksize=1).get(timeout=120)
        assert_right(results, 1)
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
            assert_right(list(executor.map(work, [make()] * PARTS, range(PARTS))), 1)


def test_executors_of_concurrent_futures():
    context = multiprocessing.get_context("spawn")
    options = {"mp_context": context, "initializer": castile.set_num_threads, "initargs": (1,)}
    with concurrent.futures.ProcessPoolExecutor(2, **options) as executor:
        assert_right(list(executor.map(work, [make()] * PARTS, range(PARTS))), 1)
    castile.set_num_threads(1)
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        assert_right(list(executor.map(work, [make()] * PARTS, range(PARTS))), 1, in_threads=True)


def test_dask_threads_and_processes():
    bag = pytest.importorskip("dask.bag")
    tasks = bag.from_sequence(range(PARTS), npartitions=PARTS)
    castile.set_num_threads(1)
    results = tasks.map(lambda k: work(make(), k)).compute(scheduler="threads", num_workers=2)
    assert_right(results, 1, in_threads=True)
    castile.set_num_threads(None)
    context = multiprocessing.get_context("spawn")
    options = {"mp_context": context, "initializer": castile.set_num_threads, "initargs": (1,)}
    with concurrent.futures.ProcessPoolExecutor(2, **options) as pool:
        delayed = pytest.importorskip("dask").delayed(work)
        graph = [delayed(make(), k) for k in range(PARTS)]
        (*results,) = pytest.importorskip("dask").compute(*graph, scheduler="processes", pool=pool)
    assert_right(results, 1)


def test_dask_distributed_sets_one_thread_per_process():
    distributed = pytest.importorskip("distributed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sockets and clocks, which are not ours
        options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
        with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
            results = client.gather(client.map(lambda k: work(make(), k), range(PARTS)))
    assert_right(results, 1)


def test_each_worker_may_write_a_file_of_its_own(tmp_path):
    """The pattern for more frames than one process can do: a share and a file for each, resumable like any."""

    def write(k):
        return make().transform_to(tmp_path / f"part-{k}.npy", part(k), chunk_size=2, resume=True)

    for stores in (joblib.Parallel(2)(joblib.delayed(write)(k) for k in range(PARTS)) for _ in range(2)):
        assert [store.n_frames for store in stores] == [len(part(k)) for k in range(PARTS)]
        assert all(same_bits(store.rows(), make().transform(part(k))) for k, store in enumerate(stores))
