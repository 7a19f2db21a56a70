import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.cli import main
from cimemu.views.answers import ALIKE, questions
from cimemu.views.bins import bin_events
from cimemu.views.html import EXACT_EVENTS, MOST_BINS, TYPES, page_data
from cimemu.views.names import LONGEST, short_names
from cimemu.views.paths import critical_path, power, roofline
from cimemu.views.remedies import remedies


class Fake:
    """A trace of given events, in two chunks."""

    def __init__(self, events, units, layers, cycles):
        self.rows, self.units, self.layers = events, {"name": [f"u{i}" for i in range(units)]}, {"name": ["l"] * layers}
        self.attributes = {"cycles": cycles}

    def event_chunks(self, columns):
        for part in (self.rows[: len(self.rows) // 2], self.rows[len(self.rows) // 2 :]):
            array = np.array(part, dtype=np.int64).reshape(-1, 4)
            yield dict(zip(columns, array.T))


EVENT = st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 200), st.integers(0, 90))


@settings(max_examples=60, deadline=None)
@given(st.lists(EVENT, max_size=30), st.integers(1, 40), st.integers(1, 60), st.permutations([0, 1, 2, 3]))
def test_bins_hold_every_busy_cycle_of_every_unit_and_layer(raw, max_bins, max_entries, units):
    events = [(unit, layer, start, start + length) for unit, layer, start, length in raw]
    chosen = np.array(units[:3])
    bins = bin_events(Fake(events, 4, 3, 300), chosen, max_bins, max_entries)
    by_hand = {}
    for unit, layer, start, end in events:
        for cycle in range(start, end):
            if unit in chosen:
                key = (unit, layer, cycle // bins.width)
                by_hand[key] = by_hand.get(key, 0) + 1
    got = dict(zip(zip(bins.unit.tolist(), bins.layer.tolist(), bins.bin.tolist()), bins.busy.tolist()))
    assert got == by_hand
    assert len(got) <= max_entries or bins.bin.max() == 0
    assert bins.bin.max(initial=0) < max_bins


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    trace, out = folder / "d.h5", folder / "d.html"
    arguments = ["run", "rram_128", "digits", "--images", "4", "--out", str(trace), "--json"]
    assert main([*arguments, "--set", "schedule=pipelined"]) == 0
    assert main(["report", str(trace), "--html", str(out)]) == 0
    return cimemu.open_trace(trace), out


def test_the_page_needs_no_network_and_holds_the_traces_totals(page):
    trace, out = page
    text = out.read_text()
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text.split('id="data">')[0]
    assert "src=" not in text.split("<script>")[0]
    data = json.loads(text.split('id="data">')[1].split("</script>")[0].replace("<\\/", "</"))
    assert np.array(data["energy"]["pj"]).sum() == pytest.approx(trace.attributes["energy_pj"])
    assert sum(data["twin"]["pj"]) == pytest.approx(trace.attributes["energy_pj"])
    assert data["summary"]["cycles"] == trace.attributes["cycles"]
    assert data["sources"]
    assert out.stat().st_size < 2_000_000


def test_no_unit_is_left_out_and_macros_come_first(page):
    trace, _ = page
    data = page_data(trace)
    assert sorted(data["timeline_units"]) == sorted(trace.units["name"])
    assert sum(group["units"] for group in data["groups"]) == len(trace.units["name"])
    for group in data["groups"]:
        units = data["timeline_units"][group["first"] : group["first"] + group["units"]]
        assert sorted(units, key=lambda name: "/macro" not in name) == units
    assert [group["name"] for group in data["groups"]][:2] == ["tile0", "tile1"]


def test_the_critical_path_fills_the_first_images_time_without_a_gap(page):
    trace, _ = page
    segments = critical_path(trace)["segments"]
    start, end = (int(trace.table("images")[name][0]) for name in ("start", "end"))
    assert segments[0][2] == start
    assert sum(cycles for *_, cycles in segments) == end - start
    assert all(a[2] + a[3] == b[2] for a, b in itertools.pairwise(segments))


def test_power_times_time_is_the_energy(page):
    trace, _ = page
    for width in (None, "500ns"):
        found, exact = power(trace, width), cimemu.power_of(trace, 500) if width else None
        lengths = np.minimum(found["width"], trace.attributes["cycles"] - np.arange(len(found["mw"])) * found["width"])
        lengths = lengths * trace.attributes["clock_ns"]
        assert (found["mw"] * lengths).sum() == pytest.approx(trace.energy["pj"][:-1].sum())
        assert (found["leakage_mw"] * lengths).sum() == pytest.approx(trace.energy["pj"][-1].sum())
        if exact is not None:
            assert np.add(found["mw"], found["leakage_mw"]) == pytest.approx(exact.total_mw)
            assert f"Peak {exact.summary()['peak_mw']:,.4g} mW" in found["note"]


def test_a_page_of_chosen_windows_says_why_there_are_none(page, tmp_path):
    trace, _ = page
    assert page_data(trace, "1us")["power"]["width"] == 1000
    arch, network = cimemu.load_arch("rram_128"), cimemu.load_workload("digits")
    images = network.inputs(2)[0]
    quantized = cimemu.quantize(cimemu.load_network(network.network), arch, network.calibration())
    cimemu.run(arch, quantized, images, trace=tmp_path / "some.h5", event_images=1)
    some = cimemu.open_trace(tmp_path / "some.h5")
    assert power(some)["mw"] == []
    assert "1 of 2 images" in power(some)["note"]
    assert cimemu.write_html(some, tmp_path / "p.html").exists()
    with pytest.raises(cimemu.TraceError, match="has the events of 1 of 2 images"):
        cimemu.write_html(some, tmp_path / "q.html", power="1us")


def test_no_layer_lies_above_its_roof(page):
    trace, _ = page
    found = roofline(trace)
    assert len(found["points"]) == 6
    for point in found["points"]:
        assert point["macs_per_cycle"] <= point["roof"] <= found["used"] <= found["chip"]
        assert point["macs_per_cycle"] <= found["bits_per_cycle"] * point["macs_per_bit"]


def measured(tmp_path, arch, *overrides):
    out = tmp_path / f"{len(list(tmp_path.iterdir()))}.h5"
    settings = [word for one in overrides for word in ("--set", one)]
    assert main(["run", arch, "digits", "--images", "2", "--out", str(out), "-q", *settings]) == 0
    return cimemu.open_trace(out)


@pytest.mark.parametrize("schedule", ["layer_by_layer", "pipelined"])
def test_the_four_answers_are_the_traces_figures(schedule, tmp_path):
    trace = measured(tmp_path, "rram_128", f"schedule={schedule}")
    where, energy, waits, _ = questions(trace)
    layers, pj = trace.layers, trace.energy["pj"]
    cycles = layers["cycles"]
    group = cycles >= ALIKE * cycles.max()
    share = f"{100 * cycles[group].sum() / cycles.sum():.0f} %"
    slowest = str(layers["name"][cycles.argmax()])
    assert where["answer"] == (f"{group.sum()} layers: {share}" if group.sum() > 1 else f"{slowest}: {share}")
    assert slowest in where["answer"] + where["detail"]
    parts = {"leakage": pj[-1].sum(), **dict(zip(trace.energy["component"], pj[:-1].sum(axis=0)))}
    assert energy["answer"].endswith(f": {100 * max(parts.values()) / pj.sum():.0f} %")
    assert str(trace.units["name"][trace.units["busy_cycles"].argmax()]) in waits["detail"]


SAVES = {  # what a remedy speaks of, of a trace: less is better
    "rate": lambda trace: float(trace.attributes["cycles"]),
    "time": lambda trace: float(trace.layers["cycles"].sum()),
    "energy": lambda trace: float(trace.energy["pj"].sum()),
}


def gained(what, before, after):
    if what == "events":  # energy without what a shorter run leaks less
        total, spent = before.energy["pj"].sum(), [trace.energy["pj"][:-1].sum() for trace in (before, after)]
        return total / (total - (spent[0] - spent[1]))
    return SAVES[what](before) / SAVES[what](after)


@pytest.mark.parametrize(
    ("arch", "overrides"),
    [
        ("rram_128", ()),
        ("rram_128", ("schedule=pipelined",)),
        ("rram_128", ("chip.digital.lanes=1",)),
        ("sram_256", ("schedule=pipelined", "chip.tiles=4")),
        ("isaac", ()),
        ("digital_cim", ("schedule=pipelined",)),
        ("fefet_128", ("mapping.max_replicas=2",)),
    ],
)
def test_a_remedy_helps_and_by_no_more_than_it_says(arch, overrides, tmp_path):
    before = measured(tmp_path, arch, *overrides)
    for one in remedies(before):
        if one.setting:
            after = measured(tmp_path, arch, *overrides, one.setting)
            assert 1 < gained(one.what, before, after) <= one.factor * 1.01, one


PART = st.sampled_from(["a", "b", "conv", "conv_1", "expanded_conv_with_a_long_name", "x" * 60])
PATH = st.lists(PART, min_size=1, max_size=4).map("/".join)


@given(st.lists(st.lists(PATH, min_size=1, max_size=2).map(";".join), min_size=1, max_size=12, unique=True))
def test_short_names_are_apart_where_names_are(names):
    short = short_names(names)
    assert all(len(name) <= 2 * LONGEST for name in short)
    assert len(set(short)) == len(names) or any(len(name) > LONGEST for name in names)


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium with chromedriver on this machine (apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1366,768"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


def shown(browser, out, width=1366, height=768, **media):
    """The page at a size, in a colour scheme or as printed."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    scheme = [{"name": "prefers-color-scheme", "value": media.get("scheme", "light")}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme, "media": media.get("media", "screen")})
    browser.get(out.as_uri())
    assert browser.execute_script("return document.body.dataset.ready") == "yes"


def test_a_browser_shows_the_answers_and_can_zoom_filter_and_fold(page, browser):
    trace, out = page
    shown(browser, out)
    find = lambda name: browser.find_element("id", name)  # noqa: E731
    answers = browser.find_elements("css selector", "#answers b")
    assert [answer.text for answer in answers] == [one["answer"] for one in questions(trace)]
    assert all(answer.rect["y"] + answer.rect["height"] < 768 for answer in answers)  # on the first screen
    assert find("twin").rect["y"] < 500
    assert "leakage of the chip" in find("twin").text

    drawn = lambda: int(find("timeline").get_attribute("data-drawn"))  # noqa: E731
    everything = drawn()
    assert everything == trace.event_count
    browser.execute_script("document.getElementById('layer-filter').value = '2'")
    browser.execute_script("document.getElementById('layer-filter').dispatchEvent(new Event('change'))")
    assert drawn() == (trace.events["layer"] == 2).sum()
    browser.execute_script("document.getElementById('layer-filter').value = '-1'")
    browser.execute_script("document.getElementById('layer-filter').dispatchEvent(new Event('change'))")
    find("zoom-in").click()
    low, high = (float(find("timeline").get_attribute(f"data-{end}")) for end in ("from", "to"))
    assert high - low == pytest.approx(trace.attributes["cycles"] / 2)
    assert drawn() == ((trace.events["end"] >= low) & (trace.events["start"] <= high)).sum()
    find("zoom-image").click()
    assert float(find("timeline").get_attribute("data-to")) == trace.table("images")["end"][0]
    find("zoom-all").click()
    assert drawn() == everything

    names = lambda: len(browser.find_elements("css selector", "#names > *"))  # noqa: E731
    groups = len(browser.find_elements("css selector", "#names button"))
    assert names() == len(trace.units["name"]) + groups
    find("fold").click()
    assert names() == groups
    browser.find_elements("css selector", "#names button")[0].click()
    assert names() > groups
    find("unfold").click()
    assert names() == len(trace.units["name"]) + groups
    wide = browser.execute_script("return document.documentElement.scrollWidth > window.innerWidth")
    assert not wide
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


def test_the_timeline_is_moved_by_keys(page, browser):
    trace, out = page
    shown(browser, out)
    canvas = browser.find_element("id", "timeline")
    ends = lambda: [float(canvas.get_attribute(f"data-{end}")) for end in ("from", "to")]  # noqa: E731
    cycles = trace.attributes["cycles"]
    canvas.send_keys("+")
    assert ends()[1] - ends()[0] == pytest.approx(cycles / 2)
    before = ends()[0]
    canvas.send_keys("\ue014")  # to the right
    assert ends()[0] > before
    canvas.send_keys("\ue012")
    assert ends()[0] == pytest.approx(before)
    canvas.send_keys("-")
    canvas.send_keys("+")
    canvas.send_keys("\ue011")  # Home
    assert ends() == [0, cycles]


def test_tables_are_searched_sorted_and_copied(page, browser):
    trace, out = page
    shown(browser, out)
    layers = trace.layers
    rows = lambda: browser.find_elements("css selector", "#layers tbody tr")  # noqa: E731
    assert len(rows()) == len(layers["name"])
    head = browser.find_elements("css selector", "#layers th")[5]
    head.find_element("css selector", "button").send_keys("\n")  # by keyboard
    assert head.get_attribute("aria-sort") == "descending"
    assert rows()[0].find_element("css selector", "td").text == layers["name"][layers["energy_pj"].argmax()]
    field = browser.find_element("css selector", "#layers-controls input")
    field.send_keys("CONV")
    assert len(rows()) == sum("conv" in name.lower() for name in layers["name"])
    browser.find_element("css selector", "#layers-controls button").click()
    header, *lines = browser.find_element("id", "layers").get_attribute("data-csv").splitlines()
    assert header.startswith("layer,op,MMAC/image")
    assert len(lines) == len(rows())
    browser.find_element("id", "all-units")
    assert browser.execute_script("return getComputedStyle(document.querySelector('#layers th')).position") == "sticky"


def violations(browser):
    """What axe-core finds: rules that the page breaks."""
    package = pytest.importorskip("axe_core_python")
    browser.execute_script((Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    browser.set_script_timeout(60)
    run = "const done = arguments[0]; axe.run(document, {resultTypes: ['violations']}).then((r) => done(r.violations))"
    return [(one["id"], one["impact"], one["nodes"][0]["html"][:100]) for one in browser.execute_async_script(run)]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1366, 768), (1920, 1080), (390, 844)], ids=["laptop", "desk", "phone"])
def test_nothing_bars_people_at_any_size(page, browser, two, size, scheme):
    for out in (page[1], two):
        shown(browser, out, *size, scheme=scheme)
        assert violations(browser) == []
        assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")


def test_a_faint_text_and_a_nameless_button_would_be_found(page, browser):
    shown(browser, page[1])
    browser.execute_script("document.getElementById('title').style.color = '#ddd'")
    browser.execute_script("document.getElementById('zoom-all').textContent = ''")
    assert {rule for rule, *_ in violations(browser)} == {"color-contrast", "button-name"}


def test_the_printed_page_is_light_and_whole(page, browser):
    trace, out = page
    shown(browser, out, scheme="dark", media="print")
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    controls = browser.find_elements("css selector", ".controls")
    assert not any(part.is_displayed() for part in controls)
    assert browser.find_element("id", "names").size["height"] >= 15 * len(trace.units["name"])


@pytest.fixture(scope="module")
def two(page, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    other, out = folder / "five.h5", folder / "diff.html"
    line = ["run", "rram_128", "digits", "--images", "4", "--out", str(other), "--json"]
    assert main([*line, "--set", "macro.adc.bits=5"]) == 0
    assert main(["diff", str(page[0].path), str(other), "--html", str(out)]) == 0
    return out


def test_a_page_of_two_runs_shows_what_changed(page, two, browser):
    shown(browser, two)
    changes = cimemu.diff_traces(page[0].path, two.with_name("five.h5"))
    assert [key for key in ("macro.adc.bits", "schedule") if key in browser.find_element("id", "arch").text] == [
        "macro.adc.bits",
        "schedule",
    ]
    rows = browser.find_elements("css selector", "#layers tbody tr")
    assert len(rows) == len(changes["layers"])
    (cycles,) = [row for row in changes["summary"] if row["what"] == "cycles_per_image"]
    assert f"{100 * cycles['change']:+.1f} %" in browser.find_element("id", "answers").text
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


def test_a_page_of_a_million_events_is_no_larger_than_5_mb():
    """By its parts, of which none grows with the events: what is drawn one by one, and shares of stretches."""
    each = sum(TYPES[kind](0).itemsize for kind in ("u16", "u16", "u8", "u16", "f64", "f64", "u32"))
    share = sum(TYPES[kind](0).itemsize for kind in ("u16", "u16", "u16", "u8"))
    assert (EXACT_EVENTS * each + MOST_BINS * share) * 4 / 3 < 4_000_000
