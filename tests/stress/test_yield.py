"""Yield: counted chips are those of `run`, intervals are exact, and strata of faults agree with brute force."""

import json
from itertools import pairwise

import h5py
import nets
import numpy as np
import pytest
from scipy.stats import binom

import cimemu
from cimemu.cli import main
from cimemu.errors import CimemuError
from cimemu.shares import clopper_pearson, trials_for
from cimemu.stress import Chips, rare_failures, trials_planned, yield_of
from cimemu.stress.strata import Stratum, StuckCells, _places, cut_strata, draw_counts, weighted_interval

SMALL = {"macro.rows": 32, "macro.columns": 32, "chip.tiles": 40}


@pytest.fixture(scope="module")
def small():
    network, arch = nets.residual_network(), cimemu.load_arch("rram_128", SMALL)
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 4)).astype(np.uint8)
    labels = cimemu.run(arch, network, images, detail=None).predictions
    return arch, network, images, labels


@pytest.mark.parametrize(("hits", "trials"), [(0, 1), (1, 1), (0, 30), (30, 30), (3, 40), (37, 40), (500, 1000)])
def test_the_interval_is_where_the_tails_are_a_fortieth(hits, trials):
    low, high = clopper_pearson(hits, trials)
    assert low <= hits / trials <= high
    assert (low == 0) == (hits == 0)
    assert (high == 1) == (hits == trials)
    if hits:
        assert binom.sf(hits - 1, trials, low) == pytest.approx(0.025)
    if hits < trials:
        assert binom.cdf(hits, trials, high) == pytest.approx(0.025)


@pytest.mark.parametrize("chance", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_the_interval_covers(chance):
    trials = 60
    covered = sum(
        binom.pmf(k, trials, chance)
        for k in range(trials + 1)
        if clopper_pearson(k, trials)[0] <= chance <= clopper_pearson(k, trials)[1]
    )
    assert covered >= 0.95


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("width", [0.5, 0.1, 0.02])
def test_planned_trials_are_the_fewest(share, width):
    needed = trials_for(share, width, 10**6)
    hits = round(share * needed)
    if hits == share * needed:
        low, high = clopper_pearson(hits, needed)
        assert high - low <= width + 1e-9
    if share in (0, 1):
        low, high = clopper_pearson(round(share * (needed - 1)), needed - 1)
        assert high - low > width


def test_chips_are_those_of_run_and_a_narrow_interval_stops(small):
    arch, network, images, labels = small
    vary = ["stuck_at:sa0=0.003,sa1=0.003"]
    draws = cimemu.Draws(seed=4, vary=vary)
    found = yield_of(Chips(*small), draws=draws, accuracy=0.75, trials=30)
    for trial in (0, 7, 29):
        run = cimemu.run(arch, network, images, labels, vary=vary, seed=4, trial=trial, detail=None)
        assert run.accuracy == found.accuracy[trial]
    assert found.good == (found.accuracy >= 0.75).sum()
    assert (found.low, found.high) == clopper_pearson(found.good, 30)
    early = yield_of(Chips(*small), draws=draws, accuracy=0.75, trials=30, width=0.5)
    assert early.stopped
    assert 10 <= early.trials < 30
    assert np.array_equal(early.accuracy, found.accuracy[: early.trials])
    assert early.high - early.low <= 0.5


@pytest.mark.parametrize(("cells", "chance"), [(1000, 0.0001), (1368, 0.006), (100000, 0.001), (10, 0.5)])
def test_strata_cover_every_number_of_faults_once(cells, chance):
    cut = cut_strata(cells, chance)
    assert (cut[0][0], cut[0][1], cut[-1][1]) == (0, 0, cells)
    assert all(a[1] + 1 == b[0] for a, b in pairwise(cut))
    assert sum(p for *_, p in cut) == pytest.approx(1)
    rng = np.random.default_rng(0)
    for least, most, p in cut:
        if p == 0:  # 100 faults are expected: none is out of the question
            assert most == 0
            continue
        drawn = draw_counts(rng, cells, chance, (least, most), 400)
        assert least <= drawn.min()
        assert drawn.max() <= most
        numbers = np.arange(least, min(most, least + 2000) + 1)
        mean = float((numbers * binom.pmf(numbers, cells, chance)).sum() / p)
        assert drawn.mean() == pytest.approx(mean, abs=5 * max(drawn.std(), 1e-9) / 20 + 1e-9)


def test_given_stuck_cells_are_a_chips(small, tmp_path):
    """The cells that `stuck_at` sticks, given one by one, make the same chip."""
    arch, network, images, _ = small
    vary = ["stuck_at:sa0=0.02,sa1=0.03"]
    cimemu.write_chip(tmp_path / "c.h5", arch, network, vary=vary, seed=3)
    cells = {}
    with h5py.File(tmp_path / "c.h5") as file:
        for name, group in file["macros"].items():
            faults = group["writing_0/faults"][...]
            rows, columns = np.nonzero(faults)
            cells[int(name)] = (rows, columns, faults[rows, columns] == 2)
    chips = Chips(*small)
    outputs = []
    for models in (vary, [StuckCells(cells=cells)]):
        chips.emulator.program(chips.plan, models, 3)
        outputs.append(chips.emulator.run([images]).tensors[network.outputs[0]].tobytes())
    assert outputs[0] == outputs[1] != cimemu.run(arch, network, images, detail=None).outputs.tobytes()


def test_equal_weights_give_the_interval_of_a_poisson_count():
    """Fay and Feuer's interval is Garwood's exact one where all weights are equal: 12 of it, by their quantiles."""
    from scipy.stats import chi2

    strata = [Stratum(0, 0, 0.0, 1, 0), Stratum(1, 5, 0.5, 500, 5), Stratum(6, 9, 0.5, 500, 7)]
    failure, low, high, effective = weighted_interval(strata)
    assert (failure, effective) == (pytest.approx(0.012), pytest.approx(12))
    assert low == pytest.approx(chi2.ppf(0.025, 24) / 2 / 1000)
    assert high == pytest.approx(chi2.ppf(0.975, 26) / 2 / 1000)


def test_few_bad_chips_are_refused(small):
    draws = cimemu.Draws(seed=1, vary=["stuck_at:sa0=1e-5"])
    with pytest.raises(CimemuError, match="effective sample size"):
        rare_failures(Chips(*small), draws=draws, accuracy=0.5, trials=20)
    draws = cimemu.Draws(seed=1, vary=["lognormal:sigma=0.1"])
    with pytest.raises(CimemuError, match="stuck_at"):
        rare_failures(Chips(*small), draws=draws, accuracy=0.5, trials=20)


@pytest.mark.slow
@pytest.mark.statistical
def test_strata_agree_with_brute_force(small):
    """A failure rate of a few per cent: 2,500 plain chips against 600 by strata, and the truth in most intervals."""
    chips, vary = Chips(*small), ["stuck_at:sa0=0.0001,sa1=0.0001"]
    plain = yield_of(chips, draws=cimemu.Draws(seed=1, vary=vary), accuracy=0.5, trials=2500)
    rare = rare_failures(chips, draws=cimemu.Draws(seed=2, vary=vary), accuracy=0.5, trials=600)
    assert 0.005 < 1 - plain.share < 0.1
    assert rare.low <= 1 - plain.low
    assert 1 - plain.high <= rare.high
    assert rare.low < rare.failure < rare.high
    assert rare.effective > 10


def test_the_command(capsys):
    assert main(["yield", "rram_128", "digits", "--plan", "0.99", "--width", "0.02", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trials"] == trials_planned(0.99, 0.02) == 497
    words = [
        "yield",
        "rram_128",
        "digits",
        "--images",
        "6",
        "--vary",
        "stuck_at:sa0=0.02",
        "--accuracy",
        "0.8",
        "--trials",
        "5",
    ]
    assert main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["trials"] == 5
    assert [told["low"], told["high"]] == list(clopper_pearson(told["good"], 5))
    assert main(words) == 0
    assert "Clopper-Pearson" in capsys.readouterr().out
    rare = [*words[:-4], "--accuracy", "0.99", "--rare", "--trials", "40"]
    assert main([*rare, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["effective"] >= 10
    assert told["low"] <= told["failure"] <= told["high"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--accuracy and --trials are needed"),
        (["--plan", "0.9"], "give --width"),
        (["--plan", "0.5", "--width", "1e-8"], "ask for a wider interval"),
        (["--accuracy", "0.9", "--trials", "5"], "nothing varies"),
        (["--accuracy", "2", "--trials", "5"], "--accuracy"),
        (["--accuracy", "0.9", "--trials", "50", "--pilot", "2"], "add --rare"),
        (
            [
                "--accuracy",
                "1",
                "--trials",
                "50",
                "--rare",
                "--pilot",
                "1",
                "--vary",
                "stuck_at:sa0=0.1",
                "--set",
                "macro.adc.bits=1",
            ],
            "the chip without a fault has",
        ),
    ],
)
def test_mistakes_are_one_line(words, said, capsys):
    assert main(["yield", "rram_128", "digits", "--images", "2", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1


class KnownChips(Chips):
    """Chips that are bad by rule, so that the truth is known: one of ten killers is stuck, or two of a hundred others."""

    killers, others = 10, 100

    def __init__(self, *given):
        super().__init__(*given)
        cells = _places(self)
        self.harmful = cells[np.random.default_rng(0).choice(len(cells), self.killers + self.others, replace=False)]
        self.order = {tuple(place): n for n, place in enumerate(self.harmful.tolist())}

    def accuracies(self, chips):
        return np.array([self.rule(chip.models[0].cells) for chip in chips])

    def rule(self, cells):
        found = [
            self.order[macro, row, column]
            for macro, (rows, columns, _) in cells.items()
            for row, column in zip(rows.tolist(), columns.tolist())
            if (macro, row, column) in self.order
        ]
        return 0.0 if min(found, default=self.killers) < self.killers or len(found) >= 2 else 1.0

    def truth(self, chance):
        two = binom.sf(1, self.others, chance)
        return 1 - (1 - chance) ** self.killers * (1 - two)


def test_strata_of_harmful_cells_cover_the_truth_and_need_few_chips(small):
    """A rate of 10^-3: 2,000 chips have some two bad ones by plain draws."""
    chips, chance = KnownChips(*small), 1e-4
    truth = chips.truth(chance)
    assert 0.9e-3 < truth < 1.1e-3
    draws = [cimemu.Draws(seed=seed, vary=[f"stuck_at:sa0={chance / 2},sa1={chance / 2}"]) for seed in range(20)]
    found = [rare_failures(chips, draws=d, accuracy=0.5, trials=2000, harmful=chips.harmful) for d in draws]
    assert sum(one.low <= truth <= one.high for one in found) >= 18
    assert np.mean([one.failure for one in found]) == pytest.approx(truth, rel=0.1)
    assert np.std([one.failure for one in found]) < 0.25 * truth  # 2,000 plain chips: 0.7 of it
    assert all(one.effective >= 10 and one.harmful == 110 for one in found)
    assert all(sum(s.chance for s in one.strata) == pytest.approx(1) for one in found)
    plain = np.random.default_rng(1).binomial(100_000, truth)
    low, high = clopper_pearson(plain, 100_000)
    assert all(one.low <= high and low <= one.high for one in found)
    with pytest.raises(CimemuError, match="places are no cells of the network"):
        rare_failures(chips, draws=draws[0], accuracy=0.5, trials=2000, harmful=np.array([[0, 0, 1 << 20]]))


def test_strata_stop_when_their_interval_is_narrow(small):
    chips = KnownChips(*small)
    asked = {"draws": cimemu.Draws(seed=1, vary=["stuck_at:sa0=1e-4"]), "accuracy": 0.5, "harmful": chips.harmful}
    whole, early = (rare_failures(chips, trials=6000, width=width, **asked) for width in (1e-9, 3e-3))
    assert early.high - early.low <= 3e-3 < whole.high - whole.low + 3e-3
    assert early.trials < whole.trials
    assert early.effective >= 10
    assert whole.low <= chips.truth(1e-4) <= whole.high
