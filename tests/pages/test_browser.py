"""Pages in a real browser: they play, take answers, save labels, and take no name for markup."""

import csv
import json
import os

import numpy as np
import pytest
import soundfile
from browser import downloaded, open_browser, press, until, visit
from trained import SR, make_classifier, tone, write_sounds

import edgel3_np
from edgel3_np.classifier import save_classifier
from edgel3_np.classify.labels import read_labels
from edgel3_np.commands.main import main

pytestmark = pytest.mark.network  # the test talks to the browser; pages are files
HOSTILE = ["<img src=x onerror=hacked=1>.wav", "a 'b' \"c\" &lt; <script>hacked=1<", "#1?x=%20&y;.wav", "ümläut\n.wav"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("downloads")) as driver:
        driver.downloads = None
        yield driver


@pytest.fixture
def downloads(browser, tmp_path):
    folder = tmp_path / "downloads"
    folder.mkdir()
    browser.execute_cdp_cmd("Page.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    return folder


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Recordings of 4 s with hostile names, embeddings of them, and a classifier that hears something everywhere."""
    folder, rng = tmp_path_factory.mktemp("archive"), np.random.default_rng(0)
    (folder / "sounds" / "<b>hits").mkdir(parents=True)
    for number, name in enumerate(HOSTILE):
        path = folder / "sounds" / "<b>hits" / f"{number}{name}"
        soundfile.write(path, tone(4, rng), SR, format="WAV")
        os.replace(path, path.with_suffix(".wav"))
    model = edgel3_np.load_model()
    classifier = make_classifier(model, ("dog", "<i>cat"), thresholds=np.array([1e-9, 1e-9]))
    save_classifier(folder / "c.npz", classifier)
    edgel3_np.embed_files(folder / "sounds", folder / "e", hop_size=0.5)
    return folder


@pytest.fixture(scope="module")
def page(archive):
    path = archive / "found" / "hits.html"
    path.parent.mkdir()
    assert main(["detect", str(archive / "sounds"), "-c", str(archive / "c.npz"), "--html", str(path), "-q"]) == 0
    return path


def errors_of(browser):
    return [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


def readable(path):
    return path.replace("\n", "\\u{a}")


def paths_of(archive):
    return sorted(str(path) for path in (archive / "sounds").rglob("*.wav"))


def test_no_name_becomes_markup_and_nothing_is_fetched(browser, page, archive):
    visit(browser, page)
    shown = until(browser, "[...document.querySelectorAll('.hit .name')].map((name) => name.title)")
    assert sorted(set(shown)) == sorted(map(readable, paths_of(archive))) and len(shown) == 2 * len(HOSTILE)
    assert browser.execute_script("return typeof hacked") == "undefined"
    assert browser.execute_script("return document.querySelectorAll('b b, i, img[src=x]').length") == 0
    assert set(browser.execute_script("return [...document.images].map((image) => image.naturalWidth)")) == {240}
    fetched = browser.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert all(name.startswith(("data:", "blob:")) for name in fetched)
    assert errors_of(browser) == []


def test_the_policy_stops_what_a_page_should_not_do(browser, page):
    visit(browser, page)
    browser.execute_script(
        "const bad = document.createElement('div'); bad.innerHTML = '<img src=x onerror=\"window.hacked = 1\">';"
        "document.body.append(bad); const more = document.createElement('script'); more.textContent = 'hacked = 2';"
        "document.body.append(more);"
    )
    until(browser, "document.querySelector('img[src=x]').complete")
    assert browser.execute_script("return typeof hacked") == "undefined"
    assert any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser"))


def test_every_clip_plays_and_stops_at_its_end(browser, page):
    visit(browser, page)
    buttons = browser.find_elements("css selector", "button.play")
    for button in buttons[: len(HOSTILE)]:
        button.click()
        until(browser, "player.item && audio.currentTime > 0")
        assert browser.execute_script("return document.querySelectorAll('.head:not([hidden])').length") <= 1
        assert browser.execute_script("return audio.duration") == pytest.approx(4, abs=0.1)
        browser.execute_script("audio.playbackRate = 8")
        until(browser, "!player.item && audio.paused")
    buttons[0].click()
    until(browser, "document.querySelector('button.play').textContent === 'Stop'")
    buttons[0].click()
    until(browser, "document.querySelector('button.play').textContent === 'Play' && audio.paused")
    assert errors_of(browser) == []


def test_the_keyboard_alone_answers_and_saves_labels_that_train_reads(browser, page, downloads, archive):
    visit(browser, page)
    until(browser, "hits.length")
    first = browser.execute_script("return hits.map((hit) => [hit.path, hit.start, hit.end, hit.label, hit.score])")
    press(browser, "s")
    until(browser, "count.textContent.startsWith('There is nothing to save')")
    press(browser, "y", "n", "u")
    until(browser, "current.number === 4 && player.item === current")
    press(browser, " ")
    until(browser, "player.item === null")
    press(browser, "c")
    until(browser, "player.item === current && audio.currentTime > 0")
    press(browser, "k", "ARROW_UP", "j", "n", "k", "n", "ARROW_DOWN", "l")  # the third: unsure, no, and no answer again
    answers = browser.execute_script("return hits.slice(0, 4).map((hit) => hit.answer ?? null)")
    assert answers == ["yes", "no", None, None]
    browser.execute_script("current.field.select()")
    press(browser, *'own, "label"', "ENTER", "y", "u")  # the fifth is unsure
    assert browser.execute_script("return hits[4].answer") == "unsure"
    until(browser, "count.textContent === '4 of 8 answered, not saved'")
    press(browser, "s")
    name, text = downloaded(downloads)
    until(browser, "count.textContent.startsWith('hits-labels.csv, with 4 answers, goes')")
    assert name == "hits-labels.csv"
    (archive / "found" / "labels.csv").write_text(text, encoding="utf-8")
    own = (3, 'own, "label"', "yes")
    rows = [
        (0, 3, "yes"),
        (1, 3, "no"),
        (2, 3, ""),
        own,
        (3, 3, "no"),
        (4, 3, "unsure"),
        *((n, 3, "") for n in (5, 6, 7)),
    ]
    found = list(csv.reader(text.splitlines(keepends=True)))
    assert found[0] == ["path", "start", "end", "label", "score", "answer"] and len(found) == len(rows) + 1
    for row, (number, label, answer) in zip(found[1:], rows):
        path, start, end, claimed, score = first[number]
        assert row[0] == path and row[3] == (claimed if label == 3 else label) and row[5] == answer
        assert [float(cell) for cell in (row[1], row[2], row[4])] == [start, end, score]
    labels = read_labels([archive / "found" / "labels.csv"], pytest.fail)
    heard = {"yes": True, "no": False}
    spans = {(path, span.label, span.heard) for path, spans in labels.spans.items() for span in spans}
    answered = {row[0] for row in found[1:] if row[5] in heard}
    assert spans == {(row[0], row[3], heard.get(row[5])) for row in found[1:] if row[0] in answered}
    assert labels.partial == set(labels.spans) <= set(paths_of(archive))
    assert errors_of(browser) == []


def test_answers_survive_a_reload_until_they_are_changed(browser, page):
    visit(browser, page)
    browser.execute_script("localStorage.clear()")
    visit(browser, page)
    until(browser, "hits.length")
    press(browser, "y", "l")
    browser.execute_script("current.field.select()")
    press(browser, *"owl", "ENTER", "j", "n")
    kept = "hits.map((hit) => [hit.answer, hit.field.value]).slice(0, 4)"
    before = browser.execute_script(f"return {kept}")
    assert [answer for answer, _ in before] == ["yes", None, "no", None] and before[1][1] == "owl"
    visit(browser, page)
    until(browser, "count.textContent === '2 of 8 answered, not saved'")
    assert browser.execute_script(f"return {kept}") == before
    pressed = "[...document.querySelectorAll('button[aria-pressed=true]')].map((button) => button.textContent)"
    assert browser.execute_script(f"return {pressed}") == ["yes", "no"]


def make_page(folder, candidates):
    """Write a page of hits in a recording of 9 s, or without one; return its path."""
    from edgel3_np.pages.hits import Candidate, write_hits

    sound = folder / "sound.wav"
    soundfile.write(sound, tone(9, np.random.default_rng(0)), SR)
    known = [Candidate(item[0] and str(sound), *item[1:]) for item in candidates]
    write_hits(folder / "own.html", known, title="t", on_problem=lambda problem: None)
    return folder / "own.html"


def rows_of(text):
    return [(float(row[1]), row[3], row[5]) for row in list(csv.reader(text.splitlines(keepends=True)))[1:]]


def test_a_key_answers_the_hit_that_has_the_focus(browser, tmp_path):
    """However it has got it: by Tab, by a click, or by typing a label."""
    visit(browser, make_page(tmp_path, [(True, start, start + 1.0, "dog", 0.5) for start in (1, 2, 3, 4)]))
    until(browser, "hits.length")
    browser.execute_script("nextBox.checked = false")
    answers = "return hits.map((hit) => hit.answer || '')"
    browser.execute_script("hits[2].playButton.focus()")
    press(browser, "n")
    assert browser.execute_script(answers) == ["", "", "no", ""]
    browser.execute_script("hits[1].field.focus()")
    press(browser, "ENTER", "y")
    assert browser.execute_script(answers) == ["", "yes", "no", ""]
    browser.find_elements("css selector", "button.unsure")[3].click()
    press(browser, " ")
    until(browser, "player.item === hits[3]")
    assert browser.execute_script(answers) == ["", "yes", "no", "unsure"]
    held = (
        "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', { key: 'y', repeat: true, bubbles: true }))"
    )
    browser.execute_script("choose(hits[0], true)")
    for _ in range(3):
        browser.execute_script(held)
    assert browser.execute_script(answers) == ["", "yes", "no", "unsure"]
    browser.execute_script(held.replace("'y'", "'j'"))
    assert browser.execute_script("return current.number") == 2
    assert errors_of(browser) == []


def test_only_rows_that_train_takes_are_saved(browser, tmp_path, downloads):
    """A hit of an unknown recording has no row, and neither has one without a name; a wrong label is refused."""
    page = make_page(tmp_path, [(True, 1.0, 2.0), (None, 1.0, 2.0), (True, 3.0, 4.0)])
    visit(browser, page)
    until(browser, "hits.length")
    browser.execute_script("nextBox.checked = false; hits[0].field.focus()")
    press(browser, *"-x", "ENTER", "y", "s")
    assert browser.execute_script("return count.textContent") == "A label does not begin with -."
    assert browser.execute_script("return document.activeElement === hits[0].field")
    browser.execute_script("hits[0].field.value = 'a\u200fb'")
    press(browser, "ENTER", "s")
    assert browser.execute_script("return count.textContent") == "A label has up to 100 visible letters."
    browser.execute_script("hits[0].field.value = '  big\u00a0 dog '")
    press(browser, "ENTER", "j", "y", "s")
    assert browser.execute_script("return hits[1].answer || ''") == ""
    _, text = downloaded(downloads)
    assert rows_of(text) == [(1.0, "big dog", "yes")]
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    assert len(read_labels([tmp_path / "labels.csv"], pytest.fail).spans) == 1
    browser.execute_script("hits[2].field.focus()")
    press(browser, *"cat", "ENTER")
    assert browser.execute_script("return count.textContent") == "1 of 3 answered, not saved"
    assert errors_of(browser) == []


def test_one_page_in_two_windows_keeps_all_answers(browser, tmp_path):
    page = make_page(tmp_path, [(True, start, start + 1.0, "dog", 0.5) for start in (1, 2, 3, 4)])
    visit(browser, page)
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    try:
        visit(browser, page)
        second = browser.current_window_handle
        for window, number in ((first, 0), (second, 3), (first, 1)):
            browser.switch_to.window(window)
            browser.execute_script(f"reply(hits[{number}], 'yes', false)")
        for window in (first, second):
            browser.switch_to.window(window)
            until(browser, "hits.map((hit) => hit.answer || '').join() === 'yes,yes,,yes'")
    finally:
        browser.switch_to.window(second)
        browser.close()
        browser.switch_to.window(first)
    for broken in ('"5"', "[", '{"1": 7, "2": ["maybe", 5], "name": []}'):
        browser.execute_script(f"localStorage.setItem(store, {json.dumps(broken)})")
        visit(browser, page)
        assert until(browser, "count.textContent") == "0 of 4 answered"
        assert browser.execute_script("return hits.every((hit) => hit.field.value === 'dog')")
    assert errors_of(browser) == []


def test_long_names_fit_a_narrow_window(browser, tmp_path):
    folder = tmp_path / ("w" * 200)
    folder.mkdir()
    page = make_page(folder, [(True, 1.0, 2.0, "W" * 100, 0.5), (None, 1.0, 2.0, "d", 0.5)])
    size = browser.get_window_size()
    try:
        browser.set_window_size(500, 700)  # as narrow as the browser gets
        visit(browser, page)
        until(browser, "hits.length")
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    finally:
        browser.set_window_size(size["width"], size["height"])


def test_mouse_and_order(browser, page, downloads):
    visit(browser, page)
    browser.execute_script("localStorage.clear()")
    visit(browser, page)
    until(browser, "hits.length")
    for selector in ("#hits li:nth-child(3) button.no", "#hits li:nth-child(1) button.yes", "#save"):
        browser.find_element("css selector", selector).click()
    _, text = downloaded(downloads)
    assert [row[-1] for row in csv.reader(text.splitlines(keepends=True))] == ["answer", "yes", "", "no", *[""] * 5]
    numbers = "[...document.querySelectorAll('#hits .title')].map((title) => parseInt(title.textContent))"
    assert browser.execute_script(f"return {numbers}") == list(range(1, 9))
    browser.find_element("css selector", "#order option:nth-child(2)").click()
    assert browser.execute_script(f"return {numbers}") == list(range(8, 0, -1))
    browser.find_element("css selector", "#order option:nth-child(3)").click()
    names = browser.execute_script("return [...document.querySelectorAll('#hits .name')].map((name) => name.title)")
    assert names == sorted(names)
    assert errors_of(browser) == []


def luminance(browser, selector, name):
    colour = browser.execute_script(f"return getComputedStyle(document.querySelector('{selector}')).{name}")
    return sum(json.loads("[" + colour.partition("(")[2].rstrip(")") + "]")[:3]) / 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_readable_in_light_and_in_dark(browser, page, scheme):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    try:
        visit(browser, page)
        until(browser, "hits.length")
        paper, ink = luminance(browser, "header", "backgroundColor"), luminance(browser, "p.title", "color")
        assert (paper < 60 and ink > 200) if scheme == "dark" else (paper > 200 and ink < 60)
        key, face = luminance(browser, "#save", "color"), luminance(browser, "#save", "backgroundColor")
        assert abs(key - face) > 120
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_page_of_similar_moments_plays_by_link_and_asks_for_a_name(browser, archive, downloads, capsys):
    path, query = archive / "e" / "similar.html", paths_of(archive)[0]
    arguments = ["similar", query, str(archive / "e"), "--moments", "--top", "99", "--html", str(path), "--link"]
    assert main(arguments) == 0
    assert "similar.html: 12 hits, 0." in capsys.readouterr().err
    visit(browser, path)
    assert until(browser, "document.title").startswith("Moments like 0<img src=x")
    assert browser.execute_script("return document.activeElement === nameField")
    browser.find_element("css selector", "h1").click()  # a browser plays nothing before that
    for other in paths_of(archive):
        browser.execute_script(f"hear(items.find((item) => item.path === {json.dumps(other)}))")
        until(browser, "player.item && audio.currentTime > player.item.start")
        assert until(browser, "audio.src").startswith("file:///")
    browser.execute_script("choose(hits[0], true)")
    press(browser, "y", "n", "s")
    until(browser, "count.textContent === 'Say first what the sound is called.'")
    press(browser, *"wolf", "ENTER", "s")
    _, text = downloaded(downloads)
    rows = list(csv.reader(text.splitlines(keepends=True)))[1:]
    assert [row[3:6:2] for row in rows] == [["wolf", "yes"], ["wolf", "no"], *[["wolf", ""]] * 10]
    assert errors_of(browser) == []
    os.rename(query, f"{query}.away")
    try:
        visit(browser, path)
        browser.execute_script("hear(query)")
        until(
            browser, "document.querySelector('.problem:not(:empty)').textContent.startsWith('This browser cannot play')"
        )
    finally:
        os.rename(f"{query}.away", query)


def test_a_map_names_what_is_under_the_mouse_and_a_click_plays(browser, archive, capsys):
    path = archive / "map.html"
    assert main(["map", str(archive / "e"), "-o", str(path), "--moments"]) == 0
    visit(browser, path)
    assert until(browser, "document.querySelectorAll('circle:not(.ring)').length") == 4 * 8
    legend = browser.find_elements("css selector", ".legend button")
    assert [button.text for button in legend] == ["<b>hits (32)"]
    from selenium.webdriver import ActionChains

    circles = browser.find_elements("css selector", "circle:not(.ring)")
    ActionChains(browser).move_to_element(circles[-1]).perform()
    shown = until(browser, "status.textContent")
    assert shown.startswith("<b>hits: ") and any(readable(name) in shown for name in paths_of(archive))
    ActionChains(browser).click().perform()
    until(browser, "player.item === chosen && audio.currentTime > 0")
    until(browser, "!player.item")
    assert browser.execute_script("return audio.duration") == pytest.approx(1, abs=0.01)
    browser.execute_script("svg.focus()")
    before = status_of(browser)
    press(browser, "ARROW_LEFT", "ARROW_UP", "ARROW_RIGHT", "ARROW_RIGHT", " ")
    assert status_of(browser) != before
    until(browser, "player.item === chosen && audio.currentTime > 0")
    legend[0].click()
    assert legend[0].get_attribute("aria-pressed") == "false"
    assert browser.execute_script("return document.querySelectorAll('circle:not(.off):not(.ring)').length") == 0
    assert browser.execute_script("return typeof hacked") == "undefined" and errors_of(browser) == []


def test_points_on_each_other_are_reached_by_keys(browser, tmp_path):
    from edgel3_np.pages.map import Point, write_map

    points = [Point(f"/no/{number}.wav", "g", 0.0, np.zeros(2)) for number in range(5)]
    write_map(tmp_path / "m.html", points, np.zeros((5, 2)), title="m", on_problem=lambda problem: None)
    visit(browser, tmp_path / "m.html")
    until(browser, "points.length")
    assert browser.execute_script("return [points[0].left, points[0].top]") == [500, 350]
    seen = set()
    for _ in range(5):
        press(browser, "]")
        seen.add(status_of(browser))
    assert len(seen) == 5 and "cannot be read" in seen.pop()
    press(browser, "PAGE_UP", " ")
    assert errors_of(browser) == []


def status_of(browser):
    return browser.execute_script("return status.textContent")


def test_the_loop_from_one_sound_to_a_better_classifier(browser, tmp_path, downloads, capsys):
    """Search, label, train, detect, correct, train again: with nothing but commands and two pages."""
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    sounds = write_sounds(tmp_path / "sounds", 6)
    embeddings, one, two = str(tmp_path / "e"), tmp_path / "one.html", tmp_path / "two.html"
    assert main(["embed", str(sounds), "-o", embeddings, "-q"]) == 0
    query = str(sounds / "tone" / "0.wav")
    assert main(["similar", query, embeddings, "--top", "17", "--html", str(one)]) == 0
    visit(browser, one)
    until(browser, "hits.length === 17")
    browser.execute_script("nextBox.checked = false")
    press(browser, *"whistle", "ENTER")
    for _ in range(17):
        is_tone = browser.execute_script("return current.path.includes('/tone/')")
        press(browser, "y" if is_tone else "n")
    press(browser, "s")
    labels = tmp_path / "labels.csv"
    labels.write_text(downloaded(downloads)[1], encoding="utf-8")
    classifier, better = str(tmp_path / "c.npz"), str(tmp_path / "d.npz")
    assert main(["train", str(labels), "-o", classifier, "--embeddings", embeddings]) == 0
    assert main(["detect", str(sounds), "-c", classifier, "--threshold", "0.2", "--html", str(two)]) == 0
    visit(browser, two)
    until(browser, "hits.length")
    browser.execute_script("nextBox.checked = false")
    heard = browser.execute_script("return hits.map((hit) => hit.path.includes('/tone/'))")
    assert sum(heard) == 6
    for is_tone in heard:
        press(browser, "y" if is_tone else "n")
    press(browser, "s")
    corrections = tmp_path / "corrections.csv"
    corrections.write_text(downloaded(downloads)[1], encoding="utf-8")
    assert main(["train", str(labels), str(corrections), "-o", better, "--embeddings", embeddings]) == 0
    found = edgel3_np.load_classifier(better).report["classes"]
    assert [(about["label"], about["recordings"]) for about in found] == [("whistle", 6)]
    assert found[0]["average_precision"] > 0.95
