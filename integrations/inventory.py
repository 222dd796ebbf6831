"""Prints what could differ between two roots, a line for each path: inventory.py ROOT

Path, kind, mode, owner, time of change, and the target of a link or the hash of a file. What packages keep as their own
data, logs and caches is left out.
"""
import hashlib
import os
import stat
import sys

LEFT_OUT = {"proc", "sys", "dev", "run", "tmp", "var/cache", "var/log", "var/lib/apt", "var/lib/dpkg"}


def content(path, info):
    """The target of a link, the hash of a file."""
    if stat.S_ISLNK(info.st_mode):
        return os.readlink(path)
    if stat.S_ISREG(info.st_mode):
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    return ""


def walk(root, below=""):
    """Prints what is in a directory, and in those in it."""
    for name in sorted(os.listdir(os.path.join(root, below))):
        path = os.path.join(below, name)
        if path in LEFT_OUT:
            continue
        real = os.path.join(root, path)
        info = os.lstat(real)
        kind = {stat.S_IFDIR: "d", stat.S_IFREG: "f", stat.S_IFLNK: "l"}.get(stat.S_IFMT(info.st_mode), "?")
        print(
            f"./{path} {kind} {stat.S_IMODE(info.st_mode):o} {info.st_uid}:{info.st_gid}"
            f" {info.st_mtime_ns // 10**9}.{info.st_mtime_ns % 10**9:09} {content(real, info)}".encode("utf-8", "surrogateescape").decode("latin-1")
        )
        if kind == "d":
            walk(root, path)


walk(sys.argv[1])
