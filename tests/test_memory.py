"""What has started is left alone, and a large body's memory is used again, not asked for anew."""

import subprocess
import sys

import pytest

PROGRAM = """
import gc, resource
from tiergate_sidecar.memory import GARBAGE_OBJECTS, settle
if {settled}:
    settle()
    assert gc.get_freeze_count() > 1000
    assert gc.get_threshold()[0] == GARBAGE_OBJECTS
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def bodies():
    several = [b"x" * (1_500_000 + each) for each in range(4)]
    del several
bodies()
before = faults()
for _ in range(20):
    bodies()
print(faults() - before)
"""


def page_faults(settled):
    command = [sys.executable, "-c", PROGRAM.format(settled=settled)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc's malloc")
def test_large_bodies_come_and_go_in_memory_that_stays():
    assert page_faults(False) > 10_000  # 20 times 4 bodies of 366 pages: it can be told
    assert page_faults(True) < 1000
