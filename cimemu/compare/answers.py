"""What networks answered to test images: read from traces, and from the tables that studies write."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cimemu.errors import CimemuError
from cimemu.trace.read import open_trace

COLUMNS = ("test", "image", "label", "answer")


@dataclass(frozen=True, eq=False)
class Answers:
    """Of one network to one set of images."""

    labels: NDArray[np.int64]
    given: NDArray[np.int64]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which are right."""
        return np.equal(self.given, self.labels)


def read_answers(path: Path) -> dict[str, Answers]:
    """By name of the set of images: of a trace ("images"), or of answers.csv. CimemuError in one line."""
    if path.suffix.lower() == ".csv":
        return _of_table(path)
    outputs = open_trace(path).table("outputs")
    if "label" not in outputs or "prediction" not in outputs:
        raise CimemuError(f"{path}: has no labels or no predictions, run a workload that has labels of classes")
    return {"images": Answers(*(np.asarray(outputs[name], dtype=np.int64) for name in ("label", "prediction")))}


def _of_table(path: Path) -> dict[str, Answers]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise CimemuError(
                    f"{path}: columns {', '.join(reader.fieldnames or ()) or 'none'}, must be {', '.join(COLUMNS)}; give the "
                    "answers.csv of a run of cimemu adapt --study, or a trace"
                )
            rows = [(row["test"], int(row["image"]), int(row["label"]), int(row["answer"])) for row in reader]
    except OSError as error:
        raise CimemuError(f"{path}: cannot be read ({error.strerror}), name a trace or an answers.csv") from None
    except (ValueError, TypeError):
        raise CimemuError(f"{path}: has a line that is not four whole fields, write it again") from None
    sets: dict[str, Answers] = {}
    for test in dict.fromkeys(row[0] for row in rows):
        of_test = [row for row in rows if row[0] == test]
        if [row[1] for row in of_test] != list(range(len(of_test))):
            raise CimemuError(f"{path}: images of {test} are not numbered 0, 1, 2 ..., write it again")
        label, answer = (np.array([row[k] for row in of_test], dtype=np.int64) for k in (2, 3))
        sets[test] = Answers(label, answer)
    if not sets:
        raise CimemuError(f"{path}: has no answers, name another")
    return sets
