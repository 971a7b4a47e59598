"""A job specification for OpenCue: one layer for each shot, and one that depends on all of them.

A shot's layer depends on the layer of its survey, if it has one: LAYER_ON_LAYER.

From: OpenCue, cjsl-1.15.dtd and pyoutline's serializer. A program of the site sends the text with
`opencue.api.launchSpecAndWait`. Nobody has sent one to an OpenCue here.
"""

from __future__ import annotations

import re
import shlex
from xml.etree import ElementTree

from .commands import FarmFiles, FarmJob

DOCTYPE = (
    '<?xml version="1.0"?>\n<!DOCTYPE spec PUBLIC "SPI Cue Specification Language" '
    '"http://localhost:8080/spcue/dtd/cjsl-1.15.dtd">\n'
)
FILE = "job.xml"
SEND = "import opencue.api; opencue.api.launchSpecAndWait(open('job.xml').read())"
LAST = "then"
SHORTEST = 3


def opencue_files(job: FarmJob, show: str, shot: str, user: str) -> FarmFiles:
    """Returns the specification. `show` and `user` are names that the site's OpenCue knows; `shot` is any text."""
    spec = ElementTree.Element("spec")
    heads = {"facility": "local", "show": show, "shot": _name(shot), "user": user}
    for name, text in heads.items():
        ElementTree.SubElement(spec, name).text = text
    title = _name(job.name)
    made = ElementTree.SubElement(spec, "job", name=title)
    ElementTree.SubElement(made, "paused").text = "False"
    layers = ElementTree.SubElement(made, "layers")
    depends = ElementTree.SubElement(spec, "depends")
    surveys = {f"survey_{number}": words for number, words in enumerate(job.surveys, 1)}
    steps = {f"remove_{number}": words for number, words in enumerate(job.shots, 1)}
    last = {LAST: job.then} if job.then else {}
    for step, words in {**surveys, **steps, **last}.items():
        layer = ElementTree.SubElement(layers, "layer", name=step, type="Render")
        wanted = {
            "cmd": shlex.join(words),
            "range": "1-1",
            "chunk": "1",
            "cores": str(job.needs.vcpus),
            "memory": f"{job.needs.memory_gb}g",
            **({"gpus": str(job.needs.gpus)} if job.needs.gpus and step != LAST else {}),
        }
        for name, text in wanted.items():
            ElementTree.SubElement(layer, name).text = text
        services = ElementTree.SubElement(layer, "services")
        ElementTree.SubElement(services, "service").text = "shell"
    waiting = [
        (f"remove_{place + 1}", survey)
        for number, survey in enumerate(surveys)
        for place, _ in job.of_survey(number)
    ]
    waiting += [(LAST, step) for step in (steps if job.then else ())]
    for layer_name, step in waiting:
        found = {"depjob": title, "deplayer": layer_name, "onjob": title, "onlayer": step}
        depend = ElementTree.SubElement(depends, "depend", type="LAYER_ON_LAYER", anyframe="False")
        for name, text in found.items():
            ElementTree.SubElement(depend, name).text = text
    text = DOCTYPE + ElementTree.tostring(spec, encoding="unicode") + "\n"
    return FarmFiles({FILE: text}, ("python", "-c", SEND))


def _name(text: str) -> str:
    """A name of three characters and more, without others than letters, digits, _ and dots: cuebot, JobSpec."""
    return re.sub(r"[^\w.]+", "_", text, flags=re.ASCII).ljust(SHORTEST, "_")
