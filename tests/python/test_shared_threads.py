"""Python threads that call at once share the threads of the process, whatever tool started them."""

import concurrent.futures
import multiprocessing
import os
import signal
import threading
import time
import warnings

import joblib
import numpy as np
import pytest
from checks import same_bits
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import FeatureUnion
from test_parallel import crystal, soap
from test_workers import n_threads_of_process

import castile
from castile import _core

pytestmark = pytest.mark.skipif(not _core.openmp_enabled(), reason="built without OpenMP: always one thread")
needs_proc = pytest.mark.skipif(not n_threads_of_process(), reason="threads are counted in /proc")
N_CALLERS = N_THREADS = 8


@pytest.fixture(autouse=True)
def default_threads():
    """Leave the process as it was."""
    yield
    castile.set_num_threads(None)


def long_work():
    return soap(cutoff=7.0, n_max=10, l_max=8), [crystal(7)] * 2


class Census:
    """Counts the threads of the process while all callers are inside of calls, and keeps them there until it has."""

    ENOUGH = 50  # looks, a millisecond or more apart

    def __init__(self):
        self.inside = self.most_inside = self.most_threads = self.looks = 0
        self.lock = threading.Lock()
        self.start = threading.Barrier(N_CALLERS)  # the calls are short where processors are fast
        self.ended = threading.Event()
        self.watcher = threading.Thread(target=self.watch)

    def __enter__(self):
        self.watcher.start()
        self.before = n_threads_of_process()
        return self

    def __exit__(self, *error):
        self.ended.set()
        self.watcher.join()

    def watch(self):
        while not self.ended.wait(0.001):
            inside = self.inside
            self.looks += inside == N_CALLERS
            self.most_inside = max(self.most_inside, inside)
            self.most_threads = max(self.most_threads, n_threads_of_process())

    def call(self, function, *arguments):
        self.start.wait(timeout=60)
        with self.lock:
            self.inside += 1
        deadline = time.monotonic() + 60
        try:
            result = function(*arguments)
            while self.looks < self.ENOUGH and time.monotonic() < deadline:
                result = function(*arguments)
            return result
        finally:
            with self.lock:
                self.inside -= 1

    def grown(self):
        """Threads that came into being beside the callers, once all callers were inside of their calls."""
        assert self.most_inside == N_CALLERS
        return self.most_threads - self.before - N_CALLERS


def in_executor(census, descriptor, frames):
    with concurrent.futures.ThreadPoolExecutor(N_CALLERS) as executor:
        tasks = [executor.submit(census.call, descriptor.transform, frames) for _ in range(N_CALLERS)]
        return [task.result() for task in tasks]


def in_joblib_threads(census, descriptor, frames):
    call = joblib.delayed(lambda: census.call(descriptor.transform, frames))
    return joblib.Parallel(N_CALLERS, backend="threading")(call() for _ in range(N_CALLERS))


def in_dask_threads(census, descriptor, frames):
    dask = pytest.importorskip("dask")
    call = dask.delayed(lambda _: census.call(descriptor.transform, frames))
    return dask.compute(*map(call, range(N_CALLERS)), scheduler="threads", num_workers=N_CALLERS)


@needs_proc
@pytest.mark.parametrize("way", [in_executor, in_joblib_threads, in_dask_threads])
def test_callers_at_once_do_not_start_all_threads_each(way):
    descriptor, frames = long_work()
    with castile.threads(1):
        expected = descriptor.transform(frames)
    castile.set_num_threads(N_THREADS)
    with Census() as census:
        results = way(census, descriptor, frames)
    # The first to come starts 7 more, the next 3, and so on, 16 in all, which become fewer when the others have begun;
    # on a busy machine the census may see all 16. Without shares it would be 7 each, 28.
    assert census.grown() <= N_CALLERS * (N_THREADS - 1) * 2 // 3
    assert all(same_bits(rows, expected) for rows in results)


def test_what_a_thread_sees_is_the_number_of_the_process():
    """Not its share, which changes while it works."""
    castile.set_num_threads(4)
    descriptor, frames = long_work()
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        tasks = [executor.submit(lambda: (descriptor.transform(frames), castile.num_threads())[1]) for _ in range(2)]
        assert [task.result() for task in tasks] == [4, 4]


class CountsThreads(TransformerMixin, BaseEstimator):
    """The features of a descriptor, and in the last column the threads that it may use."""

    def __init__(self, descriptor):
        self.descriptor = descriptor

    def fit(self, frames, y=None):
        return self

    def transform(self, frames):
        X = self.descriptor.transform(frames)
        return np.column_stack([X, np.full(len(X), castile.num_threads()), np.full(len(X), os.getpid())])


def test_n_jobs_of_scikit_learn_shares_the_cpus():
    frames, descriptor = [crystal(2)], soap(average="off")
    expected = descriptor.transform(frames)
    union = FeatureUnion([("a", CountsThreads(descriptor)), ("b", CountsThreads(descriptor))], n_jobs=2)
    results = np.split(union.fit(frames).transform(frames), 2, axis=1)
    for rows in results:
        assert same_bits(rows[:, :-2].copy(), expected)
        assert (rows[:, -2] == max(joblib.cpu_count() // 2, 1)).all()
        assert (rows[:, -1] != os.getpid()).all()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="not on this system")
def test_a_fork_while_other_threads_are_inside_of_calls():
    """The child has neither their threads nor their shares: it runs serially, and does not wait for them."""
    descriptor, frames = long_work()
    small = [crystal(3)]
    expected = descriptor.transform(small)
    castile.set_num_threads(4)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            descriptor.transform(frames)

    callers = [threading.Thread(target=work) for _ in range(2)]
    for caller in callers:
        caller.start()
    try:
        for _ in range(3):
            time.sleep(0.02)
            with warnings.catch_warnings():
                # From Python 3.12 on, forking a process that has threads is warned about: that is the case here.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = os.fork()
            if pid == 0:  # the child: nothing of pytest may run here
                code = 1
                try:
                    signal.alarm(60)  # a child that hangs is killed, which the parent sees
                    code = 0 if same_bits(descriptor.transform(small), expected) and castile.num_threads() == 1 else 2
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        stop.set()
        for caller in callers:
            caller.join(60)
