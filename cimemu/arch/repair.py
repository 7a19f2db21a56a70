"""What makes up for faulty cells and noisy reads (`macro.repair`)."""

from typing import ClassVar

from pydantic import Field, field_validator

from cimemu.record import Grown


class Repair(Grown):
    """What makes up for faulty cells and noisy reads: spare lines, checksum columns and repeated reads.

    A chip is tested when it is made, and spares replace its faulty lines. Checksums find what goes wrong in a read.
    """

    later: ClassVar[tuple[str, ...]] = ("checksum_columns", "reads")

    spare_rows: int = Field(
        0, ge=0, le=1024, description="rows that stand for others whose stuck cells do most harm to the weights"
    )
    spare_columns: int = Field(0, ge=0, le=1024, description="columns that do so; they are tried first")
    checksum_columns: int = Field(
        0,
        ge=0,
        le=1024,
        description="data columns of a group that is guarded by two sums of their levels in columns of their own: a faulty column "
        "is found and its psum corrected where converters lose nothing; 0: no checksums",
    )
    reads: int = Field(
        1,
        ge=1,
        le=15,
        description="odd; every (group, input slice) is driven and converted so many times, each with its own noise, and the "
        "median of a column's codes goes on",
    )

    @field_validator("reads")
    @classmethod
    def _reads_have_a_middle(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"{value} reads have no middle one, must be odd")
        return value
