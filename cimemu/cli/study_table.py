"""What `cimemu adapt --study` prints: the settings of every run as a line, its results as a table that fits a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from cimemu.terminal import make_console, print_pairs, print_table

Row = Mapping[str, Any]
ACCURACY, BEFORE, ERROR = "accuracy_", "untrained_accuracy_", "standard_error_"


def print_study(rows: Sequence[Row]) -> None:
    """The runs of a study, rows of its results.csv."""
    if not rows:
        make_console().print("no run is done")
        return
    make_console().print(
        "How each run is made: weights by bits, what shares a scale, and how it is found; so are converters"
    )
    print_pairs([(str(row["run"]), settings_of(row)) for row in {row["run"]: row for row in rows}.values()])
    make_console().print()
    print_table([results_of(row, sets_of(rows)) for row in rows])
    make_console().print(
        "Accuracies are of test images. before: of the start, which is fitted and not trained; after: of the epoch that is kept "
        "and named, the best one on images that are held back from training, +- its standard error; training and loss: of the "
        "last epoch, on the images it trains on"
    )


def sets_of(rows: Sequence[Row]) -> list[str]:
    """Names of the test sets, in order."""
    return list(dict.fromkeys(key.removeprefix(ACCURACY) for row in rows for key in row if key.startswith(ACCURACY)))


def settings_of(row: Row) -> str:
    """How a run is made."""
    images = f" of {row['images_per_epoch']:,} images" if row["images_per_epoch"] else ""
    parts = [
        f"weights {row['weights']}",
        f"activations of {row['activation_bits']} bits",
        f"converters {row['converter']}",
        *([f"cells vary by {row['vary']}"] if row.get("vary") else []),
        f"gradient {row['gradient']}",
        f"{row['epochs']} epochs{images}",
    ]
    return ", ".join(parts)


def results_of(row: Row, sets: Sequence[str]) -> dict[str, Any]:
    """What came of a run, with a name for every column that is short and in words."""
    found: dict[str, Any] = {"run": row["run"], "seed": row["seed"]}
    for name in sets:
        where = f" on {name}" if len(sets) > 1 else ""
        found[f"before{where}"] = percent(row.get(BEFORE + name))
        found[f"after{where}"] = percent(row.get(ACCURACY + name), row.get(ERROR + name))
    return found | {
        "epoch": row["kept_epoch"],
        "training": percent(row["train_accuracy"]),
        "loss": row["loss"],
        "seconds": round(row["seconds"]),
    }


def percent(share: float | None, error: float | None = None) -> str:
    """A share in %, with its standard error where there is one."""
    if share is None or share != share:
        return ""
    return f"{100 * share:.1f} %" + (f" +- {100 * error:.1f}" if error is not None and error == error else "")


__all__ = ["print_study", "results_of", "settings_of"]
