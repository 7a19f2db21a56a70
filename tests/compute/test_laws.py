"""Laws of the macro on macros drawn field by field, so that a failure shrinks to the smallest macro that shows it."""

import numpy as np
import pytest
from amounts import drawn
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.engines.programmed import program

common = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
ENCODINGS = ("offset", "twos_complement", "differential", "binary")
LSBS = (1, 1, 1, 2, 3, 0.5, 0.25, 1.5, 0.1, 7.3)
ZEROS = (0, 0, 0, 1, -3, 0.5, 0.25, -2.75, 0.3)


def weight_limits(macro):
    bits = macro.weight.bits
    if macro.weight.encoding == "binary":
        return -1, 1
    return -(2 ** (bits - 1)) + (macro.weight.encoding == "differential"), 2 ** (bits - 1) - 1


def input_limits(macro):
    bits = macro.input.bits
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if macro.input.signed else (0, 2**bits - 1)


@st.composite
def plain_macros(draw, encodings=ENCODINGS, combine=("digital", "analog"), corrections=("digital", "reference_column")):
    """A macro without its converter, as a tree: the smallest that its encoding allows, and larger ones."""
    encoding = draw(st.sampled_from(encodings))
    pair = encoding == "differential"
    one_bit_cells = encoding in ("twos_complement", "binary")
    cell = 1 if one_bit_cells else draw(st.integers(1, 4))
    bits = 1 if encoding == "binary" else draw(st.integers(2 if pair else 1, 9))
    per_output = (2 if pair else 1) * -(-(bits - pair) // cell)
    rows = draw(st.one_of(st.integers(1, 9), st.sampled_from([63, 64, 65, 130])))
    signed = draw(st.booleans())
    input_bits = draw(st.integers(1, 9))
    return {
        "rows": rows,
        "columns": draw(st.integers(per_output, 3 * per_output + 2)),
        "active_rows": draw(st.integers(1, rows)),
        "columns_per_adc": draw(st.integers(1, 9)),
        "cell": {"bits": cell},
        "weight": {
            "bits": bits,
            "encoding": encoding,
            "subtract": draw(st.sampled_from(["digital", "analog"])) if pair else "digital",
            "combine": draw(st.sampled_from(combine)),
            "correction": draw(st.sampled_from(corrections)) if encoding in ("offset", "binary") else "digital",
        },
        "input": {
            "bits": input_bits,
            "signed": signed,
            "dac_bits": 1 if signed else draw(st.integers(1, 9 if input_bits == 9 else 8)),
            "dac": draw(st.sampled_from(["voltage", "pulse", "bits"])),
        },
        "timing": {"skip_zero_slices": draw(st.booleans())},
    }


@st.composite
def matrices(draw, macro, most_rows=30):
    """x [P, K] and w [K, N]: drawn evenly, mostly zero, or at the ends of their ranges."""
    rows, outputs = draw(st.integers(1, max(1, min(most_rows, 3 * macro.rows)))), draw(st.integers(1, 5))
    points = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def filled(low, high, shape, kind):
        if kind == "ends":
            return rng.choice([low, high], shape)
        even = rng.integers(low, high + 1, shape)
        return np.where(rng.random(shape) < 0.85, 0, even) if kind == "sparse" else even

    x = filled(*input_limits(macro), (points, rows), draw(st.sampled_from(["even", "sparse", "ends"])))
    kind = "ends" if macro.weight.encoding == "binary" else draw(st.sampled_from(["even", "sparse", "ends"]))
    return x, filled(*weight_limits(macro), (rows, outputs), kind)


@st.composite
def converters(draw, row_blocks, column_blocks, columns):
    """A converter of any model, its parameters single, per array or per column."""
    model = draw(st.sampled_from(["ideal", "linear", "linear", "linear", "nonlinear"]))
    if model == "ideal":
        return {"model": "ideal"}
    width = draw(st.sampled_from([None, None, column_blocks, columns]))

    def parameter(one):
        if width is None:
            return draw(one)
        return draw(st.lists(st.lists(one, min_size=width, max_size=width), min_size=row_blocks, max_size=row_blocks))

    circuit = draw(st.sampled_from(["sar", "flash", "ramp"]))
    if model == "linear":
        lsb, zero = parameter(st.sampled_from(LSBS)), parameter(st.sampled_from(ZEROS))
        return {
            "model": "linear",
            "circuit": circuit,
            "bits": draw(st.integers(1, 8)),
            "lsb": lsb,
            "zero": zero,
        }
    bits = draw(st.integers(1, 4 if width is None else 2))
    threshold = st.one_of(st.integers(-4, 40), st.floats(-4, 40, width=16))
    level = draw(st.sampled_from([st.integers(-5, 60), st.sampled_from([0.0, 0.5, 1.25, 7.1, 7.1, -3.3])]))
    ascending = st.lists(threshold, min_size=2**bits - 1, max_size=2**bits - 1).map(sorted)
    levels = st.lists(level, min_size=2**bits, max_size=2**bits)
    return {
        "model": "nonlinear",
        "circuit": circuit,
        "bits": bits,
        "thresholds": parameter(ascending),
        "levels": parameter(levels),
    }


@st.composite
def problems(draw):
    """(x, w, macro) with a converter and, now and then, an accumulator of limited width."""
    tree = draw(plain_macros())
    macro = cimemu.Macro.model_validate(tree)
    x, w = draw(matrices(macro))
    blocks = -(-w.shape[0] // macro.rows), -(-w.shape[1] // macro.outputs)
    tree["adc"] = draw(converters(*blocks, w.shape[1] * macro.conversions_per_output))
    if draw(st.integers(0, 3)) == 0:
        tree["accumulator_bits"] = draw(st.integers(2, 24))
        tree["accumulator_overflow"] = draw(st.sampled_from(["error", "saturate", "wrap"]))
    return x, w, cimemu.Macro.model_validate(tree)


def outcome(x, w, macro, **options):
    """(dtype, bytes of y, conversions, codes), or the kind of error and its lines."""
    try:
        r = cimemu.mvm(x, w, macro, **options)
    except cimemu.CimemuError as error:
        return type(error).__name__, str(error).count("\n") + 1
    return r.y.dtype.str, r.y.tobytes(), r.conversions, None if r.codes is None else r.codes.tolist()


def same_on_all_paths(x, w, macro):
    for ask in (True, False):
        slow = outcome(x, w, macro, codes=ask, path="naive")
        for path in ("auto", "serial", "fixed", "steps"):
            assert outcome(x, w, macro, codes=ask, path=path) == slow, path
    try:
        exact = cimemu.mvm(x, w, macro, path="exact")
    except cimemu.CimemuError:
        return
    assert exact.y.tobytes() == slow[1]
    assert exact.conversions == slow[2]


@drawn(problems(), few=25, many=900)
def test_all_paths_give_the_bytes_and_the_codes_of_the_naive_twin(problem):
    same_on_all_paths(*problem)


@drawn(problems(), st.integers(0, 14), st.integers(0, 2**32 - 1), few=20, many=40)
def test_given_cell_levels_go_the_same_way_on_all_paths(problem, fraction_bits, seed):
    x, w, macro = problem
    assume(fraction_bits > 0 or macro.adc.model != "ideal")  # the case of its own below
    tree = macro.model_dump()
    tree["cell"]["fraction_bits"] = fraction_bits
    macro = cimemu.Macro.model_validate(tree)
    cells = np.random.default_rng(seed).uniform(
        -0.5, 2**macro.cell.bits, (len(w), w.shape[1] * macro.columns_per_output)
    )
    slow = outcome(x, w, macro, codes=True, path="naive", cells=cells)
    for path in ("auto", "serial", "fixed", "steps"):
        assert outcome(x, w, macro, codes=True, path=path, cells=cells) == slow, path


@drawn(problems(), few=15, many=30)
def test_cells_given_at_their_ideal_levels_convert_as_ideal_cells_do(problem):
    x, w, macro = problem
    assume(macro.accumulator_bits is None)
    levels = cimemu.engines.programmed.program(w, macro).matrix.levels.astype(float)
    ideal, given_ = cimemu.mvm(x, w, macro, codes=True), cimemu.mvm(x, w, macro, codes=True, cells=levels)
    assert np.array_equal(ideal.y, given_.y)
    assert ideal.codes is None or np.array_equal(ideal.codes, given_.codes)


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(common, max_examples=20)
@given(st.data())
def test_the_product_is_exact_where_the_converter_has_every_level(encoding, data):
    tree = data.draw(plain_macros(encodings=(encoding,)))
    macro = cimemu.Macro.model_validate(tree)
    x, w = data.draw(matrices(macro))
    exact = (x.astype(np.int64) @ w.astype(np.int64)).tolist()
    # the largest psum of one conversion: every row at the largest slice value and the largest level
    level = 2 ** (macro.cell.bits * (macro.weight_slices if macro.weight.combine == "analog" else 1)) - 1
    largest = macro.raised_rows * (2**macro.input.dac_bits - 1) * level
    negative = macro.weight.subtract == "analog" or (encoding == "twos_complement" and macro.weight.combine == "analog")
    zero = -largest if negative else 0
    bits = (largest - zero).bit_length()
    chips = [macro]
    if bits <= 14:
        adc = {"model": "linear", "bits": bits, "zero": zero}
        chips.append(cimemu.Macro.model_validate({**tree, "adc": adc}))
    for chip in chips:
        for path in ("auto", "serial", "fixed", "steps", "naive"):
            y = cimemu.mvm(x, w, chip, path=path).y
            assert y.dtype == np.int64
            assert y.tolist() == exact, path


@drawn(st.data(), few=15, many=30)
def test_cutting_into_blocks_groups_and_slices_changes_nothing_under_an_ideal_converter(data):
    tree = data.draw(plain_macros())
    macro = cimemu.Macro.model_validate(tree)
    x, w = data.draw(matrices(macro))
    rows = data.draw(st.integers(1, 40))
    other = {
        **tree,
        "rows": rows,
        "active_rows": data.draw(st.integers(1, rows)),
        "columns": macro.columns_per_output * data.draw(st.integers(1, 6)),
        "input": {**tree["input"], "dac_bits": 1 if macro.input.signed else data.draw(st.integers(1, 8))},
    }
    for path in ("serial", "fixed", "steps", "naive"):
        y = cimemu.mvm(x, w, macro, path=path).y
        assert y.tobytes() == cimemu.mvm(x, w, cimemu.Macro.model_validate(other), path=path).y.tobytes()


@drawn(problems(), st.integers(0, 2**32 - 1), few=15, many=30)
def test_the_order_of_rows_inside_a_group_changes_no_byte_and_no_code(problem, seed):
    x, w, macro = problem
    rng = np.random.default_rng(seed)
    order = np.arange(len(w))
    for block in range(0, len(w), macro.rows):
        for first in range(block, min(block + macro.rows, len(w)), macro.raised_rows):
            last = min(first + macro.raised_rows, block + macro.rows, len(w))
            order[first:last] = rng.permutation(order[first:last])
    assert outcome(x, w, macro, codes=True) == outcome(x[:, order], w[order], macro, codes=True)


@drawn(problems(), st.integers(0, 2**32 - 1), few=15, many=30)
def test_inputs_of_a_batch_do_not_see_each_other(problem, seed):
    x, w, macro = problem
    assume(macro.accumulator_bits is None)
    order = np.random.default_rng(seed).permutation(len(x))
    together = cimemu.mvm(x, w, macro, codes=True)
    for p in order:
        alone = cimemu.mvm(x[p : p + 1], w, macro, codes=True)
        assert alone.y.tobytes() == together.y[p : p + 1].tobytes()
        assert alone.codes is None or np.array_equal(alone.codes[0], together.codes[p])


@drawn(st.data(), st.integers(1, 8), st.integers(-20, 20), few=15, many=30)
def test_a_step_of_one_psum_clips_the_psum_and_does_nothing_else(data, bits, zero):
    tree = data.draw(plain_macros(encodings=("twos_complement",), combine=("digital",)))
    tree["adc"] = {"model": "linear", "bits": bits, "lsb": 1, "zero": zero}
    tree["timing"] = {"skip_zero_slices": False}
    macro = cimemu.Macro.model_validate(tree)
    x, w = data.draw(matrices(macro))
    y = np.zeros((len(x), w.shape[1]), dtype=np.int64)
    codes = []
    for block in range(0, len(w), macro.rows):
        for first in range(block, min(block + macro.rows, len(w)), macro.raised_rows):
            rows = slice(first, min(first + macro.raised_rows, block + macro.rows))
            for i in range(macro.input_slices):
                piece = (x[:, rows] >> (i * macro.input.dac_bits)) % 2**macro.input.dac_bits
                sign = -1 if macro.input.signed and i == macro.input_slices - 1 else 1
                code = np.empty((len(x), w.shape[1], macro.weight.bits), dtype=np.int64)
                for s in range(macro.weight.bits):
                    psum = piece @ ((w[rows] >> s) & 1)
                    value = np.clip(psum, zero, zero + 2**bits - 1)
                    code[:, :, s] = value - zero
                    place = -(2**s) if s == macro.weight.bits - 1 else 2**s
                    y += sign * 2 ** (i * macro.input.dac_bits) * place * value
                codes.append(code.reshape(len(x), -1))
    expected = np.stack(codes, axis=1).reshape(len(x), -1, macro.input_slices, w.shape[1] * macro.weight.bits)
    for path in ("auto", "serial", "fixed", "steps", "naive"):
        r = cimemu.mvm(x, w, macro, codes=True, path=path)
        assert r.y.tolist() == y.tolist(), path
        assert r.codes.tolist() == expected.tolist(), path


@drawn(problems(), few=12, many=40)
def test_two_threads_give_the_bytes_of_one(problem):
    x, w, macro = problem
    many = np.concatenate([x] * (9000 // len(x)))  # several chunks
    for path in ("serial", "fixed", "steps"):
        one = outcome(many, w, macro, path=path, threads=1)
        assert outcome(many, w, macro, path=path, threads=2) == one


@drawn(problems(), st.integers(0, 2**32 - 1), few=15, many=30)
def test_skipping_counts_a_conversion_less_for_every_column_of_a_step_without_input(problem, seed):
    x, w, macro = problem
    assume(macro.accumulator_bits is None and macro.adc.model != "ideal")
    skipping = cimemu.Macro.model_validate({**macro.model_dump(), "timing": {"skip_zero_slices": True}})
    driven = cimemu.Macro.model_validate({**macro.model_dump(), "timing": {"skip_zero_slices": False}})
    a, b = cimemu.mvm(x, w, skipping, codes=True), cimemu.mvm(x, w, driven, codes=True)
    silent = (a.codes == 65535).all(axis=3)
    assert np.array_equal(a.codes == 65535, np.broadcast_to(silent[..., None], a.codes.shape))
    assert np.array_equal(a.codes[~silent], b.codes[~silent])
    per_step = b.conversions // silent.size
    assert b.conversions == per_step * silent.size
    assert a.conversions == per_step * int((~silent).sum())


@settings(common, max_examples=20)
@given(problems(), st.data())
def test_a_weight_out_of_range_names_its_value_its_place_and_the_rule(problem, data):
    x, w, macro = problem
    low, high = weight_limits(macro)
    k, n = data.draw(st.integers(0, len(w) - 1)), data.draw(st.integers(0, w.shape[1] - 1))
    wrong = [low - 1, high + 1, 10**6, -(10**6)] + ([0] if macro.weight.encoding == "binary" else [])
    value = data.draw(st.sampled_from(wrong))
    heavy = w.astype(np.int64)
    heavy[k, n] = value
    rule = "-1 or 1" if macro.weight.encoding == "binary" else f"{low} .. {high}"
    with pytest.raises(cimemu.WorkloadError) as caught:
        cimemu.mvm(x, heavy, macro)
    assert f"w[{k}, {n}] = {value}, must be {rule} " in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(common, max_examples=20)
@given(problems(), st.data())
def test_an_input_out_of_range_names_its_value_its_place_and_the_rule(problem, data):
    x, w, macro = problem
    assume(macro.accumulator_bits is None)
    low, high = input_limits(macro)
    p, k = data.draw(st.integers(0, len(x) - 1)), data.draw(st.integers(0, x.shape[1] - 1))
    value = data.draw(st.sampled_from([low - 1, high + 1, 10**6, -(10**6)]))
    wrong = x.astype(np.int64)
    wrong[p, k] = value
    with pytest.raises(cimemu.WorkloadError) as caught:
        cimemu.mvm(wrong, w, macro)
    assert f"x[{p}, {k}] = {value}, must be {low} .. {high} " in str(caught.value)
    assert "\n" not in str(caught.value)


SMALL = {"rows": 4, "columns": 8, "columns_per_adc": 4, "weight": {"bits": 2}, "input": {"bits": 2}}


@pytest.mark.parametrize(
    ("x", "w", "message"),
    [
        ([[1.0, 2.0]], [[1], [1]], "float64 of shape (1, 2), must be integers"),
        ([[1, 2]], [[1.0], [1.0]], "float64 of shape (2, 1), must be integers"),
        ([1, 2], [[1], [1]], "shape (2,), must be integers [P, K]"),
        ([[1, 2]], [1, 1], "shape (2,), must be integers [K, N]"),
        ([[1, 2, 3]], [[1], [1]], "K = 3, the weights have K = 2"),
    ],
)
def test_arrays_of_another_kind_or_shape_are_refused_in_one_line(x, w, message):
    with pytest.raises(cimemu.WorkloadError) as caught:
        cimemu.mvm(np.array(x), np.array(w), cimemu.Macro.model_validate(SMALL))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("grid", [[], [[]], [[1, 1], [1]], [[1, 1, 1]], [[1], [1]]])
def test_converter_parameters_of_another_shape_are_refused_with_the_shapes_that_are_right(grid):
    macro = cimemu.Macro.model_validate({**SMALL, "adc": {"model": "linear", "bits": 2, "lsb": grid}})
    with pytest.raises(cimemu.ArchError) as caught:
        cimemu.mvm(np.array([[1, 2]]), np.array([[1], [1]]), macro)
    assert "[row blocks, column blocks] = [1, 1] or [row blocks, converted columns] = [1, 2]" in str(caught.value)


def test_the_exact_path_is_refused_where_a_psum_may_clip():
    clipping = cimemu.Macro.model_validate({**SMALL, "adc": {"model": "linear", "bits": 1}})
    with pytest.raises(cimemu.CimemuError, match="exact"):
        cimemu.mvm(np.array([[1, 2]]), np.array([[1], [1]]), clipping, path="exact")


@pytest.mark.parametrize(
    "changes",
    [{}, {"timing": {"skip_zero_slices": True}}, {"weight": {"bits": 2, "correction": "reference_column"}}],
)
def test_a_nine_bit_slice_holds_inputs_of_fewer_bits(changes):
    macro = cimemu.Macro.model_validate({**SMALL, "input": {"bits": 2, "dac_bits": 9}, **changes})
    assert cimemu.mvm(np.array([[3]]), np.array([[1]]), macro, path="fixed").y.tolist() == [[3]]


def test_given_cells_of_whole_levels_give_one_type_of_result_on_all_paths():
    macro = cimemu.Macro.model_validate({**SMALL, "cell": {"fraction_bits": 0}})
    x, w, cells = np.array([[1]]), np.array([[1]]), np.ones((1, 2))
    slow, fast = (cimemu.mvm(x, w, macro, cells=cells, path=path).y for path in ("naive", "auto"))
    assert slow.dtype == fast.dtype


def test_a_weight_beyond_int64_is_refused_and_not_wrapped():
    with pytest.raises(cimemu.WorkloadError):
        cimemu.mvm(np.array([[1]]), np.array([[2**64 - 1]], dtype=np.uint64), cimemu.Macro.model_validate(SMALL))


def test_an_effective_level_too_large_for_its_fixed_point_is_refused():
    with pytest.raises(cimemu.ArchError):
        cimemu.mvm(np.array([[1]]), np.array([[1]]), cimemu.Macro.model_validate(SMALL), cells=np.full((1, 2), 1e17))


@pytest.mark.parametrize(
    "adc", [{"lsb": 1e300}, {"zero": 1e300}, {"lsb": 1e-320}, {"lsb": 1e-300, "zero": 5}, {"zero": -(2.0**53)}]
)
def test_references_far_beyond_any_psum_are_refused(adc):
    with pytest.raises(cimemu.ArchError, match=r"must be|2\^-40"):
        cimemu.load_arch("rram_128", {"macro.adc": {"model": "linear", "bits": 3, **adc}})


@pytest.mark.parametrize("adc", [{"lsb": 2.0**40}, {"zero": 2.0**40}, {"lsb": 2.0**-40}, {"zero": -(2.0**40)}])
def test_the_largest_references_allowed_give_the_same_on_all_paths(adc):
    macro = cimemu.Macro.model_validate({**SMALL, "adc": {"model": "linear", "bits": 3, **adc}})
    same_on_all_paths(np.array([[1, 2]]), np.array([[1], [-2]]), macro)


@pytest.mark.parametrize(("correction", "most"), [("digital", 0), ("reference_column", 3)])
def test_the_psum_range_counts_a_reference_column_only_where_there_is_one(correction, most):
    tree = {"rows": 4, "columns": 16, "columns_per_adc": 4, "cell": {"fraction_bits": 7}, "input": {"bits": 2}}
    macro = cimemu.Macro.model_validate(tree | {"weight": {"bits": 4, "encoding": "offset", "correction": correction}})
    smallest = np.full((3, 2), -8)  # offset encoding: every cell holds level 0
    for cells, unit in ((None, 1), (np.zeros((3, 8)), 2**7)):
        assert program(smallest, macro, cells=cells).matrix.psum_range == (0, most * unit)
