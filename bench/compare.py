#!/usr/bin/env python3
"""Kiln and PyTorch in turns: training steps, predictions, how steps grow, and the chapter's job.

usage: compare.py [--kiln BUILD] [--torch PYTHON]... [--runs N] [--growth]
                  [--steps] [--predictions] [--model NAME] [--arm ARM]... [--pictures DATA]
                  [--chapter DATA --peer SCRIPT] [-o FILE]

BUILD is Kiln's build folder (build); each PYTHON an interpreter that has torch (and, for the
chapter, Pillow), of which every arm that torch_step.py knows and that runs there is measured.
--pictures measures Kiln's epochs on 1,000 to 100,000 links to DATA's pictures.
SCRIPT is a PyTorch program for the chapter's job on DATA that prints "valid_acc": NUMBER and takes
--epochs, --one-cycle, --seed and --cache. Each contender runs N times (5), the first one another
each round, so that a machine that grows slower or faster meets all of them. Prints a table in
Markdown: medians, the least and the most, and the ratio to Kiln's f32; to FILE too, if given.
"""
import argparse
import functools
import json
import math
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ARMS = ("eager", "channels-last", "bf16", "compile", "compile-bf16")
STEPS = [("simple_cnn", 128, 64), ("resnet18", 32, 128), ("xresnet50", 32, 128)]
PREDICTIONS = [("simple_cnn", 1, 64), ("resnet18", 1, 224), ("resnet18", 32, 224),
               ("xresnet50", 1, 224)]
GROWTH = [("simple_cnn", "batch", [(b, 64) for b in (1, 4, 16, 64, 256, 512)]),
          ("resnet18", "batch", [(b, 64) for b in (1, 4, 16, 64, 128)]),
          ("resnet18", "size", [(16, s) for s in (32, 64, 96, 128, 192, 224)])]


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def rounds(contenders, runs):
    """contenders: {name: function that gives a number}. {name: [numbers]}, taken in turns."""
    taken = {name: [] for name in contenders}
    for number in range(runs):
        names = list(contenders)
        for name in names[number % len(names):] + names[:number % len(names)]:
            value = contenders[name](number)
            if value is not None:
                taken[name].append(value)
    return {name: values for name, values in taken.items() if values}


def kiln_step(build, model, batch, size, dtype, threads=2, steps=20, opt="sgd"):
    def measure(_):
        text = run([build / "bench" / "step", str(steps), str(threads), model, str(batch),
                    str(size), opt, dtype])
        return float(re.search(r"step +([0-9.]+) ms", text).group(1))
    return measure


def torch_step(python, arm, model, batch, size, threads=2, steps=10, more=()):
    def measure(_):
        line = json.loads(run([python, HERE / "torch_step.py", "--model", model, "--batch",
                               str(batch), "--size", str(size), "--threads", str(threads),
                               "--steps", str(steps), "--arm", arm, *more]).splitlines()[-1])
        return line.get("ms")
    return measure


@functools.lru_cache(None)
def torch_version(python):
    return run([python, "-c", "import torch; print(torch.__version__)"]).strip()


@functools.lru_cache(None)
def dtypes(build):
    """What device cpu can, as kiln doctor tells."""
    about = run([build / "kiln", "doctor"])
    return ["f32", "bf16"] if re.search(r"^device cpu .*, bf16", about, re.M) else ["f32"]


def table(title, unit, taken, base):
    """Markdown rows, the fastest first."""
    lines = [f"\n**{title}**\n", f"| who | median, {unit} | least | most | to {base} |",
             "|---|---:|---:|---:|---:|"]
    whole = statistics.median(taken[base])
    for name, values in sorted(taken.items(), key=lambda item: statistics.median(item[1])):
        middle = statistics.median(values)
        lines.append(f"| {name} | {middle:.4g} | {min(values):.4g} | {max(values):.4g} |"
                     f" {middle / whole:.2f} |")
    return "\n".join(lines)


def compare_steps(a, say, jobs, what, opt, more):
    for model, batch, size in jobs:
        if a.model not in (None, model):
            continue
        steps = 100 if batch == 1 else 10
        contenders = {f"Kiln {d}": kiln_step(a.kiln, model, batch, size, d, steps=2 * steps,
                                             opt=opt) for d in dtypes(a.kiln)}
        for python in a.torch:
            for arm in a.arm or ARMS:
                contenders[f"PyTorch {torch_version(python)} {arm}"] = torch_step(
                    python, arm, model, batch, size, steps=steps, more=more)
        say(table(f"{model}, {batch} picture{'s' * (batch > 1)} of {size} by {size}, a {what}",
                  "ms", rounds(contenders, a.runs), "Kiln f32"))


def exponent(points):
    """The slope of log(ms) over log(n), by least squares."""
    xs, ys = [math.log(n) for n, _ in points], [math.log(ms) for _, ms in points]
    x, y = statistics.mean(xs), statistics.mean(ys)
    return sum((p - x) * (q - y) for p, q in zip(xs, ys)) / sum((p - x) ** 2 for p in xs)


def growth_lines(name, what, sizes, measure):
    points = []
    for batch, size in sizes:
        points.append((batch if what == "batch" else size, measure(batch, size)))
    cells = " | ".join(f"{ms:.3g}" for _, ms in points)
    return f"| {name} | {cells} | {exponent(points):.2f} |"


def compare_growth(a, say):
    for model, what, sizes in GROWTH:
        heads = [str(b if what == "batch" else s) for b, s in sizes]
        fixed = f"pictures of {sizes[0][1]}" if what == "batch" else f"batch {sizes[0][0]}"
        say(f"\n**{model}, {fixed}: ms a step over the {what}**\n\n| who | "
            + " | ".join(heads) + " | exponent |\n|---|" + "---:|" * (len(heads) + 1))
        for threads in (1, 2):
            for d in dtypes(a.kiln):
                say(growth_lines(f"Kiln {d}, {threads} thread(s)", what, sizes,
                                 lambda b, s: kiln_step(a.kiln, model, b, s, d, threads, 10)(0)))
            for python in a.torch[-1:]:
                say(growth_lines(f"PyTorch {torch_version(python)} channels-last, {threads} "
                                 "thread(s)", what, sizes,
                                 lambda b, s: torch_step(python, "channels-last", model, b, s,
                                                         threads, 5)(0)))


def linked(data, folder, pictures):
    """A data set of so many links to DATA's training pictures, each as often as need be, and 500 of
    its validation pictures."""
    for part, of, count in (("train", ("train",), pictures), ("val", ("val", "valid"), 500)):
        files = sorted(f for name in of for f in pathlib.Path(data, name).glob("*/*"))
        for i in range(count):
            source = files[i * len(files) // count] if count < len(files) else files[i % len(files)]
            target = folder / part / source.parent.name
            target.mkdir(parents=True, exist_ok=True)
            os.symlink(source.resolve(), target / f"{i}{source.suffix}")


def compare_pictures(a, say):
    sizes = (1000, 3000, 10000, 30000, 100000)
    first, second = [], []
    for pictures in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            linked(a.pictures, folder / "data", pictures)
            out = run([a.kiln / "kiln", "train", folder / "data", "--recipe", "chapter", "--epochs",
                       "2", "--cache", "ram", "--json", "-q", "-o", folder / "run"])
            seconds = [json.loads(line)["seconds"] for line in out.splitlines()
                       if '"event":"epoch"' in line]
            first.append((pictures, seconds[0]))
            second.append((pictures, seconds[1]))
    say("\n**simple_cnn at 64: seconds an epoch over the pictures**\n\n| epoch | "
        + " | ".join(map(str, sizes)) + " | exponent |\n|---|" + "---:|" * (len(sizes) + 1))
    for name, points in (("the first, which decodes", first), ("the second", second)):
        say(f"| {name} | " + " | ".join(f"{s:.3g}" for _, s in points)
            + f" | {exponent(points):.2f} |")


def timed(command):
    began = time.time()
    out = run(command)
    seconds = time.time() - began
    return seconds, float(re.findall(r'"valid_acc": *([0-9.eE+-]+)', out)[-1])


def compare_chapter(a, say):
    accuracy, contenders = {}, {}

    def add(name, command):
        def measure(number):
            with tempfile.TemporaryDirectory() as folder:
                words = [w.format(seed=number + 1, out=f"{folder}/run") for w in command]
                seconds, acc = timed(words)
            accuracy.setdefault(name, []).append(acc)
            return seconds
        contenders[name] = measure

    kiln = [str(a.kiln / "kiln"), "train", a.chapter, "--recipe", "chapter", "--json", "--seed",
            "{seed}", "-o", "{out}"]
    for d in dtypes(a.kiln):
        add(f"Kiln {d}", kiln + ["--dtype", d, "--cache", "ram"])
    add("Kiln f32, no cache", kiln + ["--cache", "off"])
    for python in a.torch:
        peer = [python, a.peer, a.chapter, "--epochs", "8", "--one-cycle", "--seed", "{seed}"]
        name = f"PyTorch {torch_version(python)}"
        add(f"{name}, everything cached", peer + ["--cache"])
        add(f"{name}, the book's loader", peer)
    taken = rounds(contenders, a.runs)
    say(table("The chapter's eight epochs, from JPEG files to the saved model", "s", taken,
              "Kiln f32"))
    say("\nMean accuracies: " + ", ".join(f"{name} {statistics.mean(values):.3f}"
                                          for name, values in accuracy.items()) + ".")


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        text = f.read()
    name = re.search(r"model name\s*: (.*)", text).group(1)
    family = re.search(r"cpu family\s*: (.*)", text).group(1)
    return f"{name}, family {family}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}"


def main():
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--kiln", type=pathlib.Path, default=HERE.parent / "build")
    ap.add_argument("--torch", action="append", default=[])
    ap.add_argument("--runs", type=int, default=5)
    ap.add_argument("--steps", action="store_true")
    ap.add_argument("--predictions", action="store_true")
    ap.add_argument("--model", choices=[model for model, _, _ in STEPS])
    ap.add_argument("--arm", action="append", choices=ARMS)
    ap.add_argument("--growth", action="store_true")
    ap.add_argument("--pictures", metavar="DATA")
    ap.add_argument("--chapter")
    ap.add_argument("--peer", metavar="SCRIPT",
                    help="a training by PyTorch, run as SCRIPT DATA --epochs 8 --one-cycle --seed N "
                         "[--cache]; the last \"valid_acc\": F that it prints counts")
    ap.add_argument("-o", "--output")
    a = ap.parse_args()
    if a.chapter and not a.peer:
        ap.error("--chapter needs --peer")
    said = []

    def say(text):
        print(text, flush=True)
        said.append(text)

    say(f"{machine()}; {run([a.kiln / 'kiln', '--version']).strip()}; "
        + ", ".join(f"PyTorch {torch_version(p)}" for p in a.torch))
    if a.steps:
        compare_steps(a, say, STEPS, "step", "sgd", [])
    if a.predictions:
        compare_steps(a, say, PREDICTIONS, "prediction", "none", ["--predict"])
    if a.growth:
        compare_growth(a, say)
    if a.pictures:
        compare_pictures(a, say)
    if a.chapter:
        compare_chapter(a, say)
    if a.output:
        pathlib.Path(a.output).write_text("\n".join(said) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
