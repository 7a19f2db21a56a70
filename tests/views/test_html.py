import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cimemu
from cimemu.cli import main
from cimemu.trace.schema import STALLS
from cimemu.views.bins import bin_events


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
    assert "src=" not in text.split("<script>")[0]
    data = json.loads(text.split('id="data">')[1].split("</script>")[0].replace("<\\/", "</"))
    assert np.array(data["energy"]["pj"]).sum() == pytest.approx(trace.attributes["energy_pj"])
    assert data["summary"]["cycles"] == trace.attributes["cycles"]
    assert data["sources"]
    assert out.stat().st_size < 2_000_000


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


def test_a_browser_reads_the_costliest_layer_and_the_largest_stall_and_can_zoom_and_filter(page, browser):
    trace, out = page
    browser.get(out.as_uri())
    find = lambda name: browser.find_element("id", name)  # noqa: E731
    assert browser.execute_script("return document.body.dataset.ready") == "yes"
    layers = trace.layers
    assert find("costliest-layer").text == layers["name"][layers["energy_pj"].argmax()]
    stalls = {name: int(trace.units[name].sum()) for name in STALLS if name != "stall_done_cycles"}
    largest = max(stalls, key=stalls.get)
    assert find("largest-stall").text == largest.removeprefix("stall_").removesuffix("_cycles")

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
    find("zoom-all").click()
    assert drawn() == everything
    rows = browser.find_elements("css selector", "#layers tbody tr")
    assert len(rows) == len(layers["name"])
    browser.find_elements("css selector", "#layers th")[5].click()
    first = browser.find_element("css selector", "#layers tbody td").text
    assert first == layers["name"][layers["energy_pj"].argmax()]
    wide = browser.execute_script("return document.documentElement.scrollWidth > window.innerWidth")
    assert not wide
    cut = browser.execute_script(
        "return [...document.querySelectorAll('.tile b, .tile span, h2')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    )
    assert cut == 0
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
