"""Regenerate client/vectorbucket/v1 and proto/contract.lock from the contract, or check both.

Usage: ``generate_protos.py`` replaces what is stale, ``generate_protos.py --check`` compares and
exits 1 when something is. A contract that lost something agreed is refused unless ``--allow-break``
is said.

Rules of this file: no post-processing of what protoc writes; the generator's version is checked
first, because code from a newer one would refuse the older protobuf runtimes that the client
promises.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
import sysconfig
import tempfile
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet

import contract_lock

GENERATOR_VERSION = "1.74.0"
"""The only grpcio-tools that may write the generated code; pyproject.toml, "dev", says why."""

ROOT = Path(__file__).resolve().parent.parent
PROTO_ROOT = ROOT / "proto"
LOCK = PROTO_ROOT / "contract.lock"
GENERATED = ROOT / "client" / "vectorbucket" / "v1"


def check_generator() -> None:
    """Exit with one sentence unless the pinned generator is installed."""
    found = importlib.metadata.version("grpcio-tools")
    if found != GENERATOR_VERSION:
        sys.exit(
            f"grpcio-tools is {found}; the contract is generated with {GENERATOR_VERSION}. "
            "Run scripts/test, which installs it."
        )


def run_protoc(*outputs: str) -> None:
    """Run protoc over the contract, or exit with its code.

    Args:
        outputs: Which outputs to write where, as protoc's options.
    """
    from grpc_tools import protoc  # noqa: PLC0415 - only after its version was checked

    sources = sorted((PROTO_ROOT / "vectorbucket" / "v1").glob("*.proto"))
    well_known = Path(protoc.__file__).parent / "_proto"
    googleapis = Path(sysconfig.get_path("purelib"))
    roots = (f"-I{PROTO_ROOT}", f"-I{well_known}", f"-I{googleapis}")
    code = protoc.main(["protoc", *roots, *outputs, *map(str, sources)])
    if code != 0:
        sys.exit(f"protoc failed with code {code}")


def generate(into: Path) -> dict[str, bytes]:
    """Run protoc into the folder and return the files that it wrote, by name."""
    run_protoc(f"--python_out={into}", f"--pyi_out={into}", f"--grpc_python_out={into}")
    written = into / "vectorbucket" / "v1"
    # A file without a service has an empty *_pb2_grpc.py that nobody imports.
    return {
        path.name: path.read_bytes()
        for path in sorted(written.iterdir())
        if not (path.name.endswith("_pb2_grpc.py") and b"class " not in path.read_bytes())
    }


def descriptors() -> FileDescriptorSet:
    """Return the contract's files as descriptors, with their comments."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "contract.binpb"
        run_protoc(f"--descriptor_set_out={path}", "--include_source_info")
        return FileDescriptorSet.FromString(path.read_bytes())


def present() -> dict[str, bytes]:
    """Return the generated files that are checked in, by name."""
    return {
        path.name: path.read_bytes()
        for path in sorted(GENERATED.glob("*_pb2*"))
        if path.suffix in {".py", ".pyi"}
    }


def write(fresh: dict[str, bytes], changed: list[str]) -> None:
    """Write or remove the generated files that changed."""
    for name in changed:
        if name in fresh:
            (GENERATED / name).write_bytes(fresh[name])
        else:
            (GENERATED / name).unlink()
        print(f"wrote {name}" if name in fresh else f"removed {name}")


def main() -> None:
    """Generate and replace, or compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare, change nothing")
    parser.add_argument("--allow-break", action="store_true", help="let agreed facts go")
    arguments = parser.parse_args()
    check_generator()
    with tempfile.TemporaryDirectory() as folder:
        fresh = generate(Path(folder))
    old = present()
    changed = sorted(name for name in fresh.keys() | old.keys() if fresh.get(name) != old.get(name))
    facts = contract_lock.listing(descriptors())
    agreed = LOCK.read_text() if LOCK.exists() else ""
    stale = [*changed, *([LOCK.name] if contract_lock.render(facts) != agreed else [])]
    if arguments.check:
        if stale:
            sys.exit(f"stale: {', '.join(stale)}; run scripts/generate_protos.py")
        return
    gone = contract_lock.lost(contract_lock.parse(agreed), facts)
    if gone and not arguments.allow_break:
        sys.exit(
            "\n  ".join(["the contract lost what callers rely on (see proto/README.md):", *gone])
        )
    write(fresh, changed)
    if LOCK.name in stale:
        LOCK.write_text(contract_lock.render(facts))
        print(f"wrote {LOCK.name}")


if __name__ == "__main__":
    main()
