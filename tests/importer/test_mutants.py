"""Small network files with one parameter changed, or damaged: cimemu gives what the runtime gives, or one line.

Every stored scale, zero point, axis, attribute, option, weight and bias of a file for every operator; structures and bytes of the
same files at random. No other exception, no hang, no value unlike the runtime's. `-s` prints how many of each verdict.
"""

import json
import queue
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("ai_edge_litert")
WORKER = Path(__file__).parent / "mutant_worker.py"
PATIENCE = 120.0  # seconds for one mutant, the first one's compilation of kernels included
FINE = {"refused", "same", "the runtime refuses it", "the runtime ends the process", "too large", "no file"}
FINE.add("left open by a float operator")  # `check` names the operator and the bound that its results are within


def lines_of(process):
    """Lines of a worker as they come, None at the end."""
    found: queue.Queue = queue.Queue()

    def read():
        for line in process.stdout:
            found.put(line)
        found.put(None)

    threading.Thread(target=read, daemon=True).start()
    return found


def judged(kind, seed, step, stop):
    """(verdict, what, detail) of every mutant; a worker that ends, or hangs, is started again behind the mutant that did it."""
    first, ended = 0, False
    while not ended:
        arguments = [sys.executable, str(WORKER), kind, *(str(n) for n in (seed, first, step, stop))]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        lines, number, what, ran = lines_of(process), None, "", False
        try:
            while True:
                try:
                    text = lines.get(timeout=PATIENCE)
                except queue.Empty:
                    yield "hangs", what, "the runtime" if ran else "cimemu"
                    break
                line = {} if text is None else json.loads(text)
                if "begin" in line:
                    number, what, ran = line["begin"], line["what"], False
                elif "ran" in line:
                    ran = True
                elif "done" in line:
                    yield line["verdict"], what, line["detail"]
                    number = None
                elif "end" in line:
                    ended = True
                    break
                else:
                    assert number is not None, f"the worker ends with {process.wait()} between two mutants"
                    yield ("the runtime ends the process" if ran else "cimemu ends the process"), what, ""
                    break
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
        first = 0 if number is None else number + 1


def nothing_wrong(kind, seed, step, stop, least):
    verdicts, wrong = Counter(), []
    for verdict, what, detail in judged(kind, seed, step, stop):
        verdicts[verdict] += 1
        if verdict not in FINE:
            wrong.append(f"{verdict}: {what}: {detail}")
    print(f"{kind}, seed {seed}: {sum(verdicts.values())} mutants: {dict(verdicts)}")
    assert not wrong, f"{len(wrong)} wrong: " + "\n".join(wrong[:5])
    assert sum(verdicts.values()) >= least
    assert verdicts["same"] >= least // 20, "hardly a mutant was compared"


@pytest.mark.slow
def test_a_changed_parameter_is_obeyed_or_refused():
    nothing_wrong("parameters", 3, 194, 1 << 20, 50)


@pytest.mark.slow
def test_a_damaged_file_is_read_as_the_runtime_reads_it_or_refused():
    nothing_wrong("fuzz", 0, 1, 80, 80)


@pytest.mark.long
@pytest.mark.slow
def test_every_changed_parameter_is_obeyed_or_refused():
    nothing_wrong("parameters", 0, 4, 1 << 20, 2500)


@pytest.mark.slow
def test_thousands_of_damaged_files_are_read_as_the_runtime_reads_them_or_refused():
    nothing_wrong("fuzz", 1, 1, 3000, 3000)
