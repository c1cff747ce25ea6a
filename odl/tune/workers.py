"""Who measures: processes of this machine, or a Dask cluster. Both are executors in the sense of concurrent.futures."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection
from typing import Any, TypeVar

from odl.errors import InputError, MissingToolError, OdlError

Item = TypeVar("Item")
Result = TypeVar("Result")
#: How often a pool is made anew after a process of it has died.
_MOST_RESTARTS = 2
#: Seconds to wait for a scheduler to answer.
_PATIENCE = 10
#: How often an item is tried again when Dask's worker dies under it.
_RETRIES = 3

Pool = Callable[[], Any]


@contextmanager
def local_processes(count: int) -> Iterator[Executor]:
    """Processes of this machine. They and what they started end with this one, however it ends."""
    before = set(multiprocessing.active_children())
    with tempfile.TemporaryDirectory(prefix="odl-tune-") as scratch:
        executor = ProcessPoolExecutor(
            count, multiprocessing.get_context("spawn"), initializer=_begin_worker, initargs=(scratch,)
        )
        try:
            yield executor
            executor.shutdown()
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            for process in set(multiprocessing.active_children()) - before:
                _end(process)
            raise


def _end(process: Any) -> None:
    """Ends a worker and its group: compilers and simulators."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:  # it has not come far enough to lead a group
        process.kill()
    process.join()


def _begin_worker(scratch: str) -> None:
    """A group of its own, which Ctrl-C at a terminal does not reach; it ends when the parent has ended."""
    os.setpgrp()
    tempfile.tempdir = scratch
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os.killpg(0, signal.SIGKILL)


@contextmanager
def dask_cluster(address: str) -> Iterator[Executor]:
    """The workers of a Dask scheduler.

    MissingToolError without the extra tune-cluster, InputError where nobody answers at the address.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingToolError(
            "--scheduler needs Dask, which is not installed; pip install 'odl[tune-cluster]'"
        ) from error
    try:
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"--scheduler {address}: no Dask scheduler answers there; give an address such as tcp://host:8786"
        ) from error
    try:
        yield client.get_executor(pure=False, retries=_RETRIES)
    finally:
        client.close(timeout=_PATIENCE)


def work(
    items: Iterable[Item],
    function: Callable[[Item], Result],
    pool: Pool,
    done: Callable[[Item, Result], None],
) -> None:
    """Apply a function to every item, in any order; `done` gets each result as soon as it is there, in this process.

    `pool` makes a context manager of an executor. What was done stays done when this is interrupted. Errors of the
    function are raised; OdlError where workers die again and again.
    """
    left = dict(enumerate(items))
    for restart in range(_MOST_RESTARTS + 1):
        if not left:
            return
        try:
            with pool() as executor:
                futures: dict[Future[Result], int] = {
                    executor.submit(function, item): number for number, item in left.items()
                }
                for future in as_completed(futures):
                    number = futures[future]
                    result = _result(future)
                    done(left.pop(number), result)
        except BrokenProcessPool as error:
            if restart == _MOST_RESTARTS:
                raise OdlError(
                    f"worker processes died {restart + 1} times; is there enough memory? What was measured is kept"
                ) from error


def _result(future: Future[Result]) -> Result:
    try:
        return future.result()
    except (OdlError, BrokenProcessPool):
        raise
    except Exception as error:
        if type(error).__name__ == "KilledWorker":  # Dask's, after some workers died under the same item
            raise OdlError(f"Dask gave up: {error}") from error
        raise
