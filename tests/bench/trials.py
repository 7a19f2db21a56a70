"""Images/s of `cimemu stress` with fresh cells in every trial, by processor time: python tests/bench/trials.py [TRIALS].

A trial writes all cells of ResNet-20 anew, prepares its tables, runs 64 images, and runs every layer alone on four.
"""

import sys
from time import process_time

import cimemu
from cimemu.stress.settings import settings
from cimemu.stress.trial import Point, StressTask

IMAGES = 64


def main(trials: int) -> None:
    """One line: the median, and the fastest and the slowest trial."""
    arch, work = cimemu.load_arch("rram_128"), cimemu.load_workload("cifar10_resnet20")
    network = cimemu.quantize(cimemu.load_network(work.network), arch, calibration=work.calibration())
    images, labels = work.inputs(IMAGES)
    points = tuple(Point(0, (), models) for models in settings(arch, ["lognormal:sigma=0.1"]))
    task = StressTask(arch, (network,), points, images, labels, 0, error_images=4)
    task.run(0)  # the ideal chip, and kernels
    seconds = []
    for trial in range(1, trials + 1):
        begun = process_time()
        task.run(trial)
        seconds.append(process_time() - begun)
    seconds.sort()
    rates = [IMAGES / each for each in (seconds[len(seconds) // 2], seconds[0], seconds[-1])]
    print("{:.1f} images/s, {:.1f} the fastest trial, {:.1f} the slowest".format(*rates))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
