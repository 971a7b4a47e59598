"""The page in a real browser: from a form to a wiped result, from clicks to mattes, with keys only, without faults.

One browser, one daemon and one page for all of it. Debian's Chromium is used; without it these tests are skipped.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from voidbridge_language_model import Server
from voidbridge_language_model import running as language_model
from voidbridge_page import Page, start_page, stop_page
from voidbridge_shots import Shot, channels_of, make_shot
from voidbridge_stage import daemon as a_daemon
from voidbridge_stage import eventually

from voidbridge_backend.client.submission import Submission
from voidbridge_backend.sequences.patterns import Sequence
from voidbridge_protocol.client import Client
from voidbridge_protocol.operations.remove import RemoveSettings

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no chromium here; on Debian: apt-get install chromium"
)
WAIT_MS = 120_000


@dataclass
class Screen:
    """A browser that has entered a page, and everything behind it."""

    context: Any
    base: str
    daemon: Any
    show: Path
    model: Server
    faults: list[str]

    def open(self, path: str = "/", scheme: str = "light") -> Any:
        tab = self.context.new_page()
        tab.emulate_media(color_scheme=scheme)  # before there is a color that would fade to another
        tab.set_default_timeout(WAIT_MS)
        tab.on("pageerror", lambda error: self.faults.append(str(error)))
        tab.on(
            "console",
            lambda said: self.faults.append(said.text) if "Content Security" in said.text else None,
        )
        tab.goto(self.base + path)
        return tab


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright
    show = tmp_path_factory.mktemp("show")
    with a_daemon() as daemon, language_model() as model, sync_playwright() as playwright:
        extra = {"VOIDBRIDGE_ASK_URL": model.url, "VOIDBRIDGE_ASK_MODEL": "good"}
        page: Page = start_page(daemon.address, show, extra=extra)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            context = browser.new_context(viewport={"width": 1400, "height": 850})
            tab = context.new_page()
            tab.goto(page.link)
            tab.wait_for_url(f"{page.origin}/")
            tab.close()
            yield Screen(context, page.origin, daemon, show, model, [])
        finally:
            browser.close()
            stop_page(page)


@pytest.fixture
def tabs(screen: Screen) -> Iterator[Screen]:
    """Closes the tabs of a test, and sees that no script failed and none was refused."""
    yield screen
    for tab in screen.context.pages:
        tab.close()
    assert screen.faults == []


def pixel(tab: Any, across: float, down: float) -> list[int]:
    """The color on the canvas at these shares of the picture's width and height."""
    found: list[int] = tab.evaluate(
        """([across, down]) => {
            const canvas = document.querySelector("#stage canvas"), size = [canvas.width, canvas.height];
            const fit = Math.min(size[0] / 64, size[1] / 48);
            const at = [0.5 * size[0] + (across - 0.5) * 64 * fit, 0.5 * size[1] + (down - 0.5) * 48 * fit];
            return [...canvas.getContext("2d").getImageData(Math.round(at[0]), Math.round(at[1]), 1, 1).data];
        }""",
        [across, down],
    )
    return found


def gray_shot(folder: Path, frames: range) -> Shot:
    """Gray plates with a white square in the left half, which `echo` turns over."""
    shot = make_shot(folder, frames)
    plane = np.full((48, 64), 0.2, np.float16)
    inside = np.where(np.arange(64) < 60, np.float16(1), np.float16(0))
    matte = np.ascontiguousarray(np.broadcast_to(inside, (48, 64)))
    for frame in frames:
        shot.write("plate", frame, {"R": plane, "G": plane, "B": plane})
        shot.write(
            "matte",
            frame,
            {"A": matte},
        )
    return shot


def tab_to(tab: Any, selector: str, text: str = "") -> None:
    """Presses Tab until the focus is there. Every control on the way shows that it has the focus."""
    for _ in range(90):
        tab.keyboard.press("Tab")
        is_there, is_seen, found = tab.evaluate(
            """([selector, text]) => {
                const now = document.activeElement, style = getComputedStyle(now);
                const isSeen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
                return [now.matches(selector) && now.textContent.includes(text),
                    now === document.body || isSeen, now.outerHTML.slice(0, 90)];
            }""",
            [selector, text],
        )
        assert is_seen, f"the focus cannot be seen on {found}"
        if is_there:
            return
    raise AssertionError(f"no key leads to {selector} {text}")


def test_keys_alone_lead_from_a_form_to_a_result_that_is_wiped_over_the_plate(tabs: Screen) -> None:
    shot = gray_shot(tabs.show / "a", range(1001, 1004))
    tab = tabs.open()
    tab.wait_for_selector("#daemon .lamp[data-is=good]")
    tab_to(tab, "a", "New job")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#plate")
    for field, value in (("plate", shot.plate), ("matte", shot.matte), ("output", "a-out/")):
        tab_to(tab, f"#{field}")
        tab.keyboard.insert_text(str(tabs.show / value) + ("/" if field == "output" else ""))
    tab_to(tab, "#force")
    tab.keyboard.press("Space")
    tab_to(tab, "summary", "the engine")
    tab.keyboard.press("Enter")
    tab_to(tab, "#set-engine")
    tab.keyboard.press("Control+A")
    tab.keyboard.insert_text("echo")
    tab.locator("#line", has_text="--engine=echo").wait_for()
    tab_to(tab, "#start")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("[data-state=done]")
    tab_to(tab, "a", "Compare in the player")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#stage[data-frame='1001']")
    tab.locator("#right", has_text="B: result 1001").wait_for()
    differ = lambda: np.ptp([pixel(tab, 0.3, 0.5), pixel(tab, 0.7, 0.5)], axis=0).max() > 10  # noqa: E731
    eventually(differ)
    tab_to(tab, "#stage")
    for _ in range(25):
        tab.keyboard.press("]")
    eventually(lambda: pixel(tab, 0.7, 0.5) == pixel(tab, 0.3, 0.5))


def wide_shot(folder: Path) -> Shot:
    """Plates of 2000 x 64 whose columns are dark and bright in turn, and results of half the light."""
    shot = make_shot(folder, range(1, 6), 64, 2000)
    columns = np.broadcast_to(np.where(np.arange(2000) % 2, 0.6, 0.05), (64, 2000))
    for frame in shot.frames:
        for role, share in (("plate", 1), ("result", 0.5)):
            light = np.ascontiguousarray(columns * share, np.float16)
            sure = np.full((64, 2000), 0.25, np.float16)
            more = {"voidbridge.confidence": sure} if role == "result" else {}
            shot.write(role, frame, {**dict.fromkeys("RGB", light), **more})
    shot.write("result", 6, channels_of(shot.file("result", 5)))  # a new frame behind the plate
    return shot


def test_the_player_compares_loops_and_shows_single_pixels(tabs: Screen) -> None:
    shot = wide_shot(tabs.show / "wide")
    files = {"plate": shot.plate, "result": shot.folder / "result.%04d.exr"}
    tab = tabs.open(f"/player?{urlencode(files)}")
    tab.wait_for_selector("#stage[data-frame='1']")
    tab.locator("#right", has_text="B: result 1").wait_for()
    middle = """() => {
        const canvas = document.querySelector("#stage canvas"), y = Math.round(canvas.height / 2);
        const { data } = canvas.getContext("2d").getImageData(canvas.width / 2 - 8, y, 16, 1);
        return [...data].filter((_, i) => i % 4 === 0);
    }"""

    def until(fits: Callable[[Any], bool]) -> Any:
        """The pixels in the middle, once they are as wanted."""

        def look() -> Any:
            found = np.array(tab.evaluate(middle))
            return [found] if fits(found) else None

        return eventually(look)[0]

    def bright(level: float) -> Callable[[Any], bool]:
        return lambda pixels: bool(abs(float(pixels.mean()) - level) < 4)

    tab.click("[data-mode=A]")
    plate = until(lambda pixels: pixels.mean() > 90).mean()
    tab.click("[data-mode=B]")
    result = until(lambda pixels: 20 < pixels.mean() < plate - 20).mean()
    tab.click("[data-mode=onion]")
    until(bright((plate + result) / 2))
    tab.click("[data-mode=A]")
    tab.select_option("#a", "confidence")
    until(bright(0.25 * 255))
    tab.select_option("#a", "plate")
    until(bright(plate))
    tab.evaluate("document.querySelector('#view').selectedIndex += 1")
    tab.dispatch_event("#view", "input")
    mean = until(lambda pixels: pixels.mean() > 20 and not bright(plate)(pixels))
    assert np.ptp(mean) < 40, "a small picture has the mean of the columns"
    tab.focus("#stage")
    tab.keyboard.press("1")
    until(lambda pixels: np.ptp(pixels) > 80)  # single columns
    tab.fill("#in", "2")
    tab.fill("#out", "3")
    tab.focus("#stage")
    tab.keyboard.press("l")
    shown = []

    def has_looped() -> bool:
        shown.append(tab.get_attribute("#stage", "data-frame"))
        return shown.count("2") > 2 and shown[-1] == "3" and "2" in shown[shown.index("3") :]

    eventually(has_looped)
    tab.keyboard.press("k")
    assert set(shown) <= {"1", "2", "3"}
    href = tab.get_attribute("#proxies", "href")
    assert "first=2&last=3" in href
    tab.keyboard.press("End")
    tab.wait_for_selector("#stage[data-frame='6']")


def test_the_player_is_driven_by_keys(tabs: Screen) -> None:
    shot = gray_shot(tabs.show / "b", range(1001, 1006))
    tab = tabs.open(f"/player?{urlencode({'plate': shot.plate, 'matte': shot.matte})}")
    tab.wait_for_selector("#stage[data-frame='1001']")
    tab.focus("#stage")
    for key, frame in (("ArrowRight", 1002), ("End", 1005), ("ArrowLeft", 1004), ("Home", 1001)):
        tab.keyboard.press(key)
        tab.wait_for_selector(f"#stage[data-frame='{frame}']")
    tab.keyboard.press("l")
    tab.wait_for_selector("#stage[data-frame='1004']")
    tab.keyboard.press("k")
    tab.keyboard.press("e")
    assert tab.text_content("#exposure-value") == "0.25"
    tab.keyboard.press("x")
    tab.wait_for_selector("[data-mode=B][aria-pressed=true]")
    tab.keyboard.press("1")
    box = tab.locator("#stage").bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.locator("#probe", has_text="plate").wait_for()


def test_clicks_and_an_answer_become_a_quadmask_and_that_a_result(tabs: Screen) -> None:
    folder, output = tabs.show / "c", tabs.show / "c-mattes"
    shot = make_shot(folder, range(1, 5))
    for frame in shot.frames:
        light = np.full((48, 64), 0.05, np.float16)
        light[14:34, 10 + 3 * frame : 30 + 3 * frame] = 0.8
        shot.write("plate", frame, {"R": light, "G": light / 2, "B": light / 4})
    files = {"plate": shot.plate, "output": output, "space": "ACEScct"}
    tab = tabs.open(f"/masks?{urlencode(files)}")
    tab.wait_for_selector("#stage[data-frame='1']")
    tab.check("[value=box]")
    box = tab.locator("#stage").bounding_box()
    fit = min(box["width"] / 64, box["height"] / 48)
    at = lambda x, y: (  # noqa: E731 - only here
        box["x"] + box["width"] / 2 + (x - 32) * fit,
        box["y"] + box["height"] / 2 + (y - 24) * fit,
    )
    tab.mouse.move(*at(12, 13))
    tab.mouse.down()
    tab.mouse.move(*at(34, 35))
    tab.mouse.up()
    tab.check("[value=on]")
    tab.mouse.click(*at(23, 24))
    assert tab.locator("#prompts li").count() == 2
    tab.click("#track")
    tab.wait_for_selector("#stage[data-matte=true]")
    saved = json.loads((output / "prompts.json").read_text())["objects"]
    assert [(p["frame"], p["label"]) for p in saved[0]["points"]] == [(1, 1)]
    assert saved[0]["points"][0]["x"] == pytest.approx(23, abs=0.5)
    assert len(list(output.glob("quadmask.*.exr"))) == 4
    removal = tab.get_attribute("#remove", "href")
    assert "quadmask" in removal
    assert "color_space=ACEScct" in removal

    tab.get_by_text("Ask for what is affected").click()
    tab.click("#draw")
    tab.wait_for_selector("#send")
    tabs.model.requests(0)
    assert tab.locator("#question img").count() == 5
    loaded = "[...document.querySelectorAll('#question img')].every((one) => one.naturalWidth)"
    eventually(lambda: tab.evaluate(loaded))
    assert "You help to remove" in tab.text_content("#question pre")
    tab.click("#send")
    tab.get_by_text("without it: An empty yard.").wait_for()
    tabs.model.requests(1)
    tab.get_by_role("button", name="Add its boxes as objects").click()
    assert tab.locator("#objects input[type=radio]").count() == 3
    for name in ("red-hat-1", "cup-2"):
        assert tab.locator("#objects", has_text=name).count() == 1
    assert faults_of(tab, "#asking, #combining") == ""
    tab.click("#combine")
    tab.locator("#course", has_text="the mattes are there").wait_for()
    codes = np.rint(channels_of(output / "quadmask.0003.exr")["Y"].astype(np.float32) * 255)
    assert {0, 127} <= set(np.unique(codes).astype(int))

    tab.click("#remove")
    tab.fill("#output", f"{folder}-clean/")
    tab.get_by_text("the engine", exact=True).click()
    tab.fill("#set-engine", "echo")
    tab.click("#start")
    tab.locator("#started", has_text="was started").wait_for()
    number = int(re.findall(r"\d+", tab.text_content("#started"))[0])
    tab.wait_for_selector(f"#run-{number}[data-state=done]")
    plate = channels_of(shot.file("plate", 3))["R"]
    result = channels_of(tabs.show / "c-clean/plate.0003.exr")["R"]
    assert (result != plate)[codes == 0].any()

    started = tab.evaluate("fetch('/api/commands').then((answer) => answer.json())")
    tracked = next(one["job"] for one in started if one["command"] == "mask" and one["job"])
    tab.goto(f"{tabs.base}/new?job={tracked}")
    tab.wait_for_selector("#png", state="attached")  # only the form for mattes has it
    tab.get_by_text("Frames, prompts and queue").click()
    seen = {name: tab.input_value(f"#{name}") for name in ("point", "box", "role", "plate")}
    assert re.fullmatch(r"1:2[23][.\d]*,2[34][.\d]*:object", seen["point"])
    assert re.fullmatch(r"1:[\d.,]+:object", seen["box"])
    assert (seen["role"], seen["plate"]) == ("object=primary", str(shot.plate))


def faults_of(tab: Any, selector: str | None = None, **options: Any) -> str:
    """What axe finds in a page or a part of it, with every part of it open."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    tab.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    found = axe.run(tab, context=selector, options=options)
    return found.generate_report() if found.violations_count else ""


def test_a_painted_matte_and_a_click_by_keys_are_saved(tabs: Screen) -> None:
    shot, output = gray_shot(tabs.show / "d", range(1, 3)), tabs.show / "d-mattes"
    tab = tabs.open(f"/masks?{urlencode({'plate': shot.plate, 'output': output})}")
    tab.wait_for_selector("#stage[data-frame='1']")
    tab.focus("#stage")
    tab.keyboard.press("Enter")
    tab.check("[value=brush]")
    box = tab.locator("#stage").bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] / 2 + 40, box["y"] + box["height"] / 2)
    tab.mouse.up()
    tab.fill("#name", "dog")
    tab.click("#add")
    tab.fill("#noun", "the brown dog")
    tab.click("#save")
    tab.locator("#course", has_text="prompts.json").wait_for()
    saved, dog = json.loads((output / "prompts.json").read_text())["objects"]
    assert (dog["name"], dog["noun"], dog["points"]) == ("dog", "the brown dog", [])
    assert saved["points"] == [{"frame": 1, "x": 32, "y": 24, "label": 1}]
    assert saved["keys"] == {"1": "painted.object.0001.exr"}
    assert (output / "painted.object.0001.exr").is_file()


@pytest.mark.parametrize(
    ("scheme", "size", "options"),
    [
        ("light", (1400, 850), {}),
        # Only what changes with the colors and the size: every rule takes 2 s a page.
        ("dark", (390, 780), {"runOnly": ["color-contrast", "target-size", "meta-viewport"]}),
    ],
    ids=["light and large", "dark and small"],
)
def test_no_page_violates_a_rule_of_axe(
    tabs: Screen, scheme: str, size: tuple[int, int], options: dict[str, Any]
) -> None:
    shot = gray_shot(tabs.show / "axe", range(1, 3))
    job = tabs.daemon.submit(shot, user="ann")
    tabs.daemon.wait_for_state(job, "done")
    files = {"plate": shot.plate, "matte": shot.matte, "result": shot.plate}
    for path, ready in (
        ("/", "tbody tr"),
        (f"/jobs/{job}", "#actions button"),
        (f"/new?{urlencode({'plate': shot.plate, 'operation': 'mask'})}", "#point"),
        (f"/player?{urlencode(files)}", "#stage[data-frame='1']"),
        (f"/masks?{urlencode({'plate': shot.plate})}", "#stage[data-frame='1']"),
    ):
        tab = tabs.open(path, scheme)
        tab.set_viewport_size({"width": size[0], "height": size[1]})
        tab.wait_for_selector(ready, state="attached")
        faults = faults_of(tab, **options)
        assert not faults, f"{path}\n{faults}"
        width = tab.evaluate("document.documentElement.scrollWidth")
        assert width <= size[0], f"{path} is {width} pixels wide"
        tab.close()


def submit_many(screen: Screen, jobs: int) -> list[str]:
    """Jobs of one shot with seeds of their own."""
    shot = make_shot(screen.show / "many", range(1, 2))
    files = {role: Sequence.parse(getattr(shot, role)) for role in ("plate", "matte")}
    made = []
    for seed in range(jobs):
        settings = RemoveSettings(engine="echo", seed=seed, steps=1)
        task = Submission(files, settings).task(lambda _: Path(), lambda *_: None, lambda: False)
        with Client(screen.daemon.address, user="ann", software="test") as client:
            made.append(client.run(task, wait=False).job)
    return made


def test_two_tabs_show_five_hundred_jobs_and_a_cancel_by_keys(tabs: Screen) -> None:
    with tabs.daemon.held():  # so that they wait
        first, second = tabs.open(), tabs.open()
        made = submit_many(tabs, 500)
        for tab in (first, second):
            tab.bring_to_front()
            for job in (made[0], made[-1]):
                tab.wait_for_selector(f"[data-job='{job}']", state="attached")
            assert tab.locator("#jobs tr").count() >= 500
        second.fill("#find", made[-1][:10])
        second.locator("#count", has_text=re.compile("^1 of")).wait_for()
        second.focus("#find")
        for _ in range(20):
            second.keyboard.press("Tab")
            if (second.evaluate("document.activeElement.textContent")) == "Cancel":
                break
        second.keyboard.press("Enter")
        second.wait_for_selector(f"[data-job='{made[-1]}'] [data-is=cancelled]")
        first.bring_to_front()
        first.wait_for_selector(f"[data-job='{made[-1]}'] [data-is=cancelled]", state="attached")
        with Client(tabs.daemon.address, user="ann", software="test") as client:
            for job in made:
                client.cancel(job)


def test_a_lost_daemon_is_told_and_its_return_is_seen(tabs: Screen) -> None:
    tab = tabs.open()
    tab.wait_for_selector("#daemon .lamp[data-is=good]")
    tabs.daemon.kill()
    tab.wait_for_selector("[role=alert] >> text=daemon.unavailable")
    assert "voidbridge serve" in tab.text_content("[role=alert]")
    tabs.daemon.start()
    tab.wait_for_selector("[role=alert]", state="detached")
    tab.wait_for_selector("#daemon .lamp[data-is=good]")
