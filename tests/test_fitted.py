"""Tables in any width: every column is there, no figure is cut, names keep their two ends."""

from hypothesis import given
from hypothesis import strategies as st

from cimemu.fitted import GAP, Column, broken_heading, fitted, shortened

NAME = st.text("abcdefgh_", min_size=1, max_size=50)
FIGURE = st.integers(0, 10**9).map("{:,}".format)
HEADING = st.text("ab /", min_size=1, max_size=20).filter(lambda text: text.strip(" /"))


@st.composite
def columns(draw):
    rows = draw(st.integers(1, 4))
    made = [Column(("name",), tuple(draw(NAME) for _ in range(rows)), True)]
    for number in range(draw(st.integers(0, 9))):
        text = draw(st.booleans())
        cells = tuple(draw(NAME if text else FIGURE) for _ in range(rows))
        made.append(Column((f"{number} {draw(HEADING)}",), cells, text))
    return made


@given(columns(), st.integers(60, 200))
def test_every_column_is_printed_once_and_within_the_width(made, width):
    parts = fitted(made, width)
    assert all(sum(c.width for c in part) + GAP * (len(part) - 1) <= width for part in parts)
    assert all(part[0].cells == parts[0][0].cells for part in parts)
    inner = [column for part in parts for column in part[1:]]
    assert ["".join("".join(c.heading).split()) for c in inner] == ["".join(c.heading[0].split()) for c in made[1:]]
    for before, after in zip(made[1:], inner):
        if before.text:
            assert [cell[0] for cell in after.cells] == [cell[0] for cell in before.cells]
            assert [cell[-1] for cell in after.cells] == [cell[-1] for cell in before.cells]
        else:
            assert after.cells == before.cells


@given(columns())
def test_a_table_that_fits_is_left_as_it_is(made):
    assert fitted(made, 10_000) == [made]


def test_names_are_shortened_in_the_middle_and_headings_broken_at_their_joints():
    assert shortened("node_convolution_12", 11) == "node_..n_12"
    assert shortened("short", 5) == "short"
    assert broken_heading(("conversions/image of it",)) == ("conversions/", "image", "of", "it")
    assert fitted([], 80) == []
