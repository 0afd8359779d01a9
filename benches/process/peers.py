"""One of Python's pools of processes in one row of the bench: a round for each line on stdin, its figures on stdout.

Arguments: the row, the pool, how many workers, and how many tasks (for `bytes`: how many bytes).
"""

import multiprocessing
import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor


def double(number):
    return 2 * number


def echo(data):
    return data


def die(_):
    os.abort()


def sleep(seconds):
    time.sleep(seconds)


class Futures:
    """A pool whose tasks are futures, as PEP 3148 has them."""

    def __init__(self, make):
        self.pool = make()

    def submit(self, task, argument):
        return self.pool.submit(task, argument)

    def claim(self, task):
        return task.result(timeout=20)

    def map(self, task, count):
        return self.pool.map(task, range(count), chunksize=max(1, count // 64))

    def close(self):
        self.pool.shutdown()


class Pebble(Futures):
    def submit(self, task, argument):
        return self.pool.schedule(task, args=(argument,))

    def map(self, task, count):
        return self.pool.map(task, range(count), chunksize=max(1, count // 64)).result()

    def close(self):
        self.pool.stop()
        self.pool.join()


class Pool(Futures):
    """Those after `multiprocessing.Pool`."""

    def submit(self, task, argument):
        return self.pool.apply_async(task, (argument,))

    def claim(self, task):
        return task.get(timeout=20)

    def map(self, task, count):
        return self.pool.map(task, range(count))

    def close(self):
        self.pool.terminate()


def make(name, workers):
    if name == "ProcessPoolExecutor":
        return Futures(lambda: ProcessPoolExecutor(workers))
    if name == "multiprocessing.Pool":
        return Pool(lambda: multiprocessing.Pool(workers))
    if name == "loky":
        from loky import ProcessPoolExecutor as Loky

        return Futures(lambda: Loky(workers))
    if name == "pebble":
        from pebble import ProcessPool

        return Pebble(lambda: ProcessPool(max_workers=workers))
    if name == "mpire":
        from mpire import WorkerPool

        return Pool(lambda: WorkerPool(n_jobs=workers))
    raise SystemExit(f"no pool is called {name}")


def seconds(work):
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def submit(pool, count):
    def work():
        tasks = [pool.submit(double, number) for number in range(count)]
        assert sum(pool.claim(task) for task in tasks) == count * (count - 1)

    return [seconds(work) / count * 1e6]


def map_row(pool, count):
    def work():
        assert sum(pool.map(double, count)) == count * (count - 1)

    return [seconds(work) / count * 1e6]


def pingpong(pool, count):
    turns = sorted(seconds(lambda: pool.claim(pool.submit(double, 1))) for _ in range(count))
    return [turns[count // 2] * 1e6, turns[count * 99 // 100] * 1e6]


def bytes_row(pool, count):
    data = bytes(count)

    def work():
        # The whole of it is read, which is fastest so.
        assert pool.claim(pool.submit(echo, data)).count(0) == count

    return [seconds(work) * 1e3]


def start(name, workers):
    pools = []

    def work():
        pools.append(make(name, workers))
        pools[0].claim(pools[0].submit(double, 1))

    taken = seconds(work)
    pools[0].close()
    return [taken * 1e3]


def abort(name, workers):
    """How soon a crash is told, and how many of 20 tasks that were pending are lost."""
    pool = make(name, workers)
    pool.claim(pool.submit(double, 1))
    begun = time.perf_counter()
    victim = pool.submit(die, 0)
    pending = [pool.submit(double, number) for number in range(20)]
    try:
        victim.result(timeout=5) if hasattr(victim, "result") else victim.get(timeout=5)
    except Exception:
        pass
    noticed = time.perf_counter() - begun
    lost = 0
    for task in pending:
        try:
            task.result(timeout=2) if hasattr(task, "result") else task.get(timeout=2)
        except Exception:
            lost += 1
    try:
        pool.close()
    except Exception:
        pass
    return [noticed * 1e3, lost]


def memory(name, workers, count):
    pool = make(name, workers)
    pool.claim(pool.submit(double, 1))
    keepers = [pool.submit(sleep, 2.0) for _ in range(workers)]
    before = resident()
    tasks = [pool.submit(double, number) for number in range(count)]
    held = resident() - before
    for task in keepers + tasks:
        pool.claim(task)
    pool.close()
    return [held / 1e6]


def kill_children():
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as stat:
                parent = int(stat.read().rsplit(")", 1)[1].split()[1])
            if parent == os.getpid():
                os.kill(int(entry), signal.SIGKILL)
        except OSError:
            pass


def main():
    row, name, workers, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    rows = {"submit": submit, "map": map_row, "pingpong": pingpong, "bytes": bytes_row}
    if row in rows:
        pool = make(name, workers)
        # Not both: after a single task, mpire's next map fails.
        if row == "map":
            sum(pool.map(double, 100))
        else:
            for number in range(workers):
                pool.claim(pool.submit(double, number))
        run = lambda: rows[row](pool, count)
    else:
        run = {
            "start": lambda: start(name, workers),
            "abort": lambda: abort(name, workers),
            "memory": lambda: memory(name, workers, count),
        }[row]
    for _ in sys.stdin:
        print(*run(), flush=True)
    if row in rows:
        pool.close()
    # Some pools wait for ever on their way out, and after a crash leave workers behind.
    kill_children()
    os._exit(0)


if __name__ == "__main__":
    main()
