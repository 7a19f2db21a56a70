"""Two threads beside two processes: `python tests/bench/threads.py tests/bench/results/threads.csv`.

`cimemu.run` of ResNet-18 at 224 x 224 on `sram_256`, after loading and a first run: images a second of one process on two threads,
by those of two processes of one thread at the same time. Both stand ready and run in turn, round after round; the ratio is the
median over the rounds, by the clock. Needs two cores that nothing else uses.
"""

import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS, SECONDS = 9, 2.0
CASES = (1, 8)  # images of a call
PROCESS = """import sys, time
import numpy as np
import cimemu
from cimemu.prepare import ready
threads, images = int(sys.argv[1]), int(sys.argv[2])
given = np.load("resnet18.npz")
x = np.concatenate([given[given.files[0]]] * images)
arch, network, x, _ = ready("sram_256", "resnet18.onnx", x, None)
def run():
    cimemu.run(arch, network, x, threads=threads)
run()
run()
for line in sys.stdin:
    print("ready", flush=True)
    begin, done = time.perf_counter(), 0
    while time.perf_counter() - begin < float(line):
        run()
        done += images
    print(done / (time.perf_counter() - begin), flush=True)
"""


def rate(processes, seconds):
    """Images a second of processes that run together."""
    for process in processes:
        process.stdin.write(f"{seconds}\n")
        process.stdin.flush()
    assert [process.stdout.readline().strip() for process in processes] == ["ready"] * len(processes)
    return sum(float(process.stdout.readline()) for process in processes)


def measured(folder, images):
    """(images a second of two processes, of two threads, median ratio, least and largest) over the rounds."""

    def start(threads):
        words = [sys.executable, "-c", PROCESS, str(threads), str(images)]
        return subprocess.Popen(words, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    apart, together = [start(1), start(1)], [start(2)]
    try:
        rate(apart, 0.1)
        rate(together, 0.1)
        pairs = []
        for _ in range(ROUNDS):
            pairs.append((rate(apart, SECONDS), rate(together, SECONDS)))
            time.sleep(0.1)
    finally:
        for process in (*apart, *together):
            process.kill()
            process.communicate()
    ratios = sorted(two / one for one, two in pairs)
    middle = len(pairs) // 2
    return *(sorted(column)[middle] for column in zip(*pairs)), ratios[middle], ratios[0], ratios[-1]


def main(target):
    with tempfile.TemporaryDirectory() as folder, Path(target).open("w", newline="", encoding="utf-8") as file:
        words = [sys.executable, "-m", "cimemu", "shape", "resnet18", "-o", "resnet18.onnx", "--images", "1", "--force"]
        subprocess.run(words, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        out = csv.writer(file, lineterminator="\n")
        out.writerow(
            [
                "images of a call",
                "two processes, images/s",
                "two threads, images/s",
                "threads / processes",
                "low",
                "high",
                "goal",
            ]
        )
        for images in CASES:
            apart, together, *ratios = measured(Path(folder), images)
            row = [images, f"{apart:.1f}", f"{together:.1f}", *(f"{ratio:.2f}" for ratio in ratios), "0.9"]
            out.writerow(row)
            print(*row, sep=" | ")


if __name__ == "__main__":
    main(*sys.argv[1:])
