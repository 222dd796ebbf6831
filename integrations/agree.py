"""Compares a report of an image with that of the machine that booted it: agree.py IMAGE.json MACHINE.json"""
import json
import sys


def main():
    image, machine = (json.load(open(path, encoding="utf-8")) for path in sys.argv[1:3])
    wrong = []
    verdicts = [{(s["name"], s["user"]): s["verdict"] for s in report["stacks"]} for report in (image, machine)]
    if verdicts[0] != verdicts[1]:
        wrong.append(f"stacks: {verdicts[0]} in the image, {verdicts[1]} on the machine")
    booted = {(check["id"], check["user"]): check["status"] for check in machine["checks"]}
    judged = agreed = 0
    for check in image["checks"]:
        if check["status"] not in ("pass", "fail"):
            continue
        judged += 1
        there = booted.get((check["id"], check["user"]))
        if there == check["status"]:
            agreed += 1
        else:
            wrong.append(f"{check['id']}: {check['status']} in the image, {there} on the machine")
    for line in wrong:
        print(line)
    if judged == 0:
        print("the image's report judges nothing")
    if wrong or judged == 0:
        sys.exit(1)
    print(f"of {judged} checks that were judged in the image all say the same on the machine")


main()
