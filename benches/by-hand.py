"""The same steps with Python's standard library, for benches/run to compare with.

usage: by-hand.py backup LIBRARY ARCHIVE | verify ARCHIVE | restore ARCHIVE LIBRARY | list DIRECTORY
"""

import glob
import io
import json
import os
import sqlite3
import sys
import tarfile
import tempfile


def backup(library, archive):
    with tempfile.TemporaryDirectory(dir=os.path.dirname(archive)) as scratch:
        copy = os.path.join(scratch, "library.db")
        source, target = sqlite3.connect(library), sqlite3.connect(copy)
        source.backup(target)
        files, total = target.execute("SELECT count(*), sum(size_bytes) FROM files").fetchone()
        source.close()
        target.close()
        metadata = json.dumps({
            "database_size_bytes": os.path.getsize(copy),
            "file_count": files,
            "total_library_size_bytes": total,
        }).encode()
        with tarfile.open(archive, "w:gz", compresslevel=6) as tar:
            tar.add(copy, "library.db")
            member = tarfile.TarInfo("backup_metadata.json")
            member.size = len(metadata)
            tar.addfile(member, io.BytesIO(metadata))


def unpack(archive, scratch):
    with tarfile.open(archive, "r:gz") as tar:
        tar.extractall(scratch)
    path = os.path.join(scratch, "library.db")
    database = sqlite3.connect(path)
    if database.execute("PRAGMA quick_check").fetchall() != [("ok",)]:
        sys.exit("damaged")
    database.close()
    return path


def verify(archive):
    with tempfile.TemporaryDirectory(dir=os.path.dirname(archive)) as scratch:
        unpack(archive, scratch)


def restore(archive, library):
    with tempfile.TemporaryDirectory(dir=os.path.dirname(library)) as scratch:
        os.replace(unpack(archive, scratch), library)


def list_directory(directory):
    for archive in sorted(glob.glob(os.path.join(directory, "vpo-library-*.tar.gz"))):
        with tarfile.open(archive, "r:gz") as tar:
            print(archive, tar.extractfile("backup_metadata.json").read())


command = {"backup": backup, "verify": verify, "restore": restore, "list": list_directory}
command[sys.argv[1]](*sys.argv[2:])
