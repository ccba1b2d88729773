"""Runs the suite, each class of cases as a process of its own, three at a time.

run.py [--all] [NAME...]    names as unittest has them (rows.Routes); --all: what takes long, too
Last line: N passed, N failed.
"""

import concurrent.futures
import importlib
import os
import subprocess
import sys
import time
import unittest

MODULES = ['rolling', 'moving', 'sentinel', 'network', 'faults', 'rows']
FOLDER = os.path.dirname(os.path.abspath(__file__))


class Result(unittest.TextTestResult):
    """Says how long each case took."""

    def startTest(self, test):
        self.began = time.monotonic()
        super().startTest(test)

    def addSuccess(self, test):
        unittest.TestResult.addSuccess(self, test)
        self.stream.writeln(f'ok, {time.monotonic() - self.began:.1f} s')

    def getDescription(self, test):
        return test.id()


def classes(module):
    found = vars(importlib.import_module(module)).values()
    is_here = lambda one: isinstance(one, type) and issubclass(one, unittest.TestCase) and one.__module__ == module
    return [f'{module}.{one.__name__}' for one in found
            if is_here(one) and unittest.defaultTestLoader.getTestCaseNames(one)]


def run_here(names):
    runner = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result)
    result = runner.run(unittest.defaultTestLoader.loadTestsFromNames(names))
    failed = len(result.failures) + len(result.errors) + len(result.skipped) + len(result.unexpectedSuccesses)
    return max(result.testsRun - failed, 0), failed


def run_apart(name):
    done = subprocess.run([sys.executable, '-W', 'ignore', __file__, name], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout, flush=True)
    words = (done.stdout.splitlines() or [''])[-1].split()
    # One that broke off has failed.
    return (int(words[0]), int(words[2])) if words[1:2] == ['passed,'] else (0, 1)


def main(arguments):
    if '--all' in arguments:
        os.environ['BACKPLANE_ALL'] = 'yes'
    names = [name for name in arguments if name != '--all']
    if names:
        passed, failed = run_here(names)
    else:
        sys.path.insert(0, FOLDER)
        everything = [name for module in MODULES for name in classes(module)]
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            counts = list(pool.map(run_apart, everything))
        passed, failed = (sum(column) for column in zip(*counts))
    print(f'{passed} passed, {failed} failed')
    return 0 if passed and not failed else 1


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
