#!/usr/bin/env python3
"""Makes a fleet's reports of a few real ones: fleet-reports.py COUNT FOLDER REPORT...

Each is a real report with another host name, machine-id and kernel, and with some of its checks met or not as a
fleet has them: most hosts alike, some with one thing missing, a few unlike all others. The same every time.
"""
import copy
import json
import pathlib
import random
import sys

KERNELS = ["6.12.107+deb13-amd64"] * 80 + ["6.12.94+deb13-amd64"] * 15 + ["6.12.41+deb13-amd64"] * 5
MODELS = [("LENOVO", "ThinkCentre M75n"), ("Intel", "NUC11TNHi5"), ("Dell Inc.", "Edge Gateway 3200")]


def broken(report, ids):
    """The report with these checks not met, and none else that is required."""
    for row in report["checks"]:
        if row["level"] != "required" or row["status"] not in ("pass", "fail"):
            continue
        row["status"] = "fail" if row["id"] in ids and row["findings"] else "pass"
        for finding in row["findings"]:
            finding["verdict"] = "unmet" if row["status"] == "fail" else "met"
            if row["status"] == "fail" and not finding["remedy"]["summary"]:
                finding["remedy"]["summary"] = "repair " + row["id"]
    for stack in report["stacks"]:
        blockers = [row["id"] for row in report["checks"] if row["status"] == "fail"
                    and row["level"] == "required" and stack["name"] in row["stacks"]]
        stack["blockers"] = list(dict.fromkeys(blockers))
        stack["verdict"] = "not-ready" if blockers else "ready"
        stack["needs"] = "none"
    ready = all(stack["verdict"] == "ready" for stack in report["stacks"])
    report["summary"]["verdict"] = "ready" if ready else "not-ready"
    report["summary"]["exit_code"] = 0 if ready else 1


def main():
    count, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])
    bases = [json.loads(pathlib.Path(name).read_text()) for name in sys.argv[3:]]
    chance = random.Random(8)
    folder.mkdir(parents=True, exist_ok=True)
    required = [sorted({row["id"] for row in base["checks"] if row["level"] == "required" and row["findings"]
                        and row["stacks"]}) for base in bases]
    variants = []
    for base, ids in zip(bases, required):
        often = ids[:12]
        sets = [[]] * 5 + [[often[0]]] * 3 + [often[1:3]] * 2 + [[name] for name in often]
        sets += [chance.sample(ids, chance.randint(2, 6)) for _ in range(20)]
        for chosen in sets:
            report = copy.deepcopy(base)
            broken(report, set(chosen))
            variants.append(report)
    # Written once: only the host differs from one to the other.
    texts = []
    for report in variants:
        host, report["host"] = report["host"], "HERE IS THE HOST"
        texts.append((host, json.dumps(report, indent=2, ensure_ascii=False).split('"HERE IS THE HOST"')))
    for number in range(count):
        host, text = chance.choice(texts)
        host = copy.deepcopy(host)
        host["name"] = f"edge-{number:05d}"
        host["machine_id_hash"] = f"{chance.getrandbits(128):032x}"
        host["node_subnet"] = f"10.100.{chance.randrange(256)}.0/24"
        if host["arch"] == "x86_64":
            host["kernel"] = [chance.choice(KERNELS)]
            host["hardware"]["vendor"], host["hardware"]["model"] = chance.choice(MODELS)
        if count >= 100 and number % 1000 == 7:
            host["name"] = "raspberrypi"
        if count >= 100 and number % 500 == 3:
            host["machine_id_hash"] = "0" * 31 + str(number % 3)
        (folder / f"edge-{number:05d}.json").write_text(json.dumps(host).join(text) + "\n")


main()
