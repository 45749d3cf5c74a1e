"""Executes `tutorial.ipynb` anew and stores what it shows, so that it can be read where nothing runs: `make tutorial`.

What differs from machine to machine and run to run, such as times of execution, is not stored.
"""

import copy
import sys
import tempfile
from pathlib import Path

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).with_name("tutorial.ipynb")
# Of a cell. A training on a busy machine is slow, and still no failure.
_TIMEOUT_S = 3600


def executed(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """A copy of a notebook, executed from top to bottom by a fresh kernel with this very Python.

    Args:
        notebook: what to execute; outputs that it has are forgotten.
        folder: where the kernel works, and what it writes lies.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed; the message is its traceback.
    """
    fresh = copy.deepcopy(notebook)
    kernel = AsyncKernelManager(kernel_name="python3")
    # Whatever else a user's machine calls python3. It listens on this machine alone, and warns of that otherwise.
    program = [sys.executable, "-m", "ipykernel_launcher", "--log-level=ERROR", "-f", "{connection_file}"]
    kernel.kernel_spec.argv = program
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(fresh, km=kernel, timeout=_TIMEOUT_S, record_timing=False, resources=resources).execute()
    # The version of this Python would be all that changes from one machine to the next.
    fresh.metadata = notebook.metadata
    return fresh


def main() -> None:
    """Execute in a folder that is thrown away, and put the outputs into the notebook."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        done = executed(notebook, Path(folder))
    partial = NOTEBOOK.with_suffix(".partial")
    nbformat.write(done, partial)
    partial.replace(NOTEBOOK)
    print(f"written: {NOTEBOOK} ({NOTEBOOK.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
