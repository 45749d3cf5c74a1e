"""Numpy arrays as columns of parquet tables, and back: rows of numbers, and pictures as png files inside the table."""

import io
import json
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from numpy.typing import DTypeLike
from PIL import Image

from diffpolicy_demos.errors import StoreError
from diffpolicy_demos.lerobot.format import pyarrow
from diffpolicy_demos.location import one_line

Pictures = UInt8[np.ndarray, "steps height width 3"]

_FORMATS = ("PNG", "JPEG", "WEBP")


def from_numbers(values: Shaped[np.ndarray, "steps numbers"]) -> Any:
    """A column of rows of numbers; LeRobot takes a row of one for the number itself."""
    arrow = pyarrow()
    flat = arrow.array(np.ascontiguousarray(values).reshape(-1))
    width = values.shape[1]
    return flat if width == 1 else arrow.FixedSizeListArray.from_arrays(flat, width)


def to_numbers(place: str, column: Any, size: int, dtype: DTypeLike) -> Shaped[np.ndarray, "steps numbers"]:
    """The rows of a column, whatever lists they are nested in.

    Args:
        place: File and column, to open messages with.
        column: Of numbers, or of lists of them to any depth.
        size: Numbers in a row.
        dtype: What the feature says that they are.

    Raises:
        StoreError: Not numbers, rows missing, or of another size.
    """
    arrow, compute = pyarrow(), pyarrow("pyarrow.compute")
    rows = len(column)
    flat = column
    while arrow.types.is_nested(flat.type) and not arrow.types.is_struct(flat.type) and flat.null_count == 0:
        lengths = compute.list_value_length(flat)
        if rows and compute.min(lengths).as_py() != compute.max(lengths).as_py():
            raise StoreError(f"{place} has rows of different lengths; expected {size} numbers in each")
        flat = compute.list_flatten(flat)
    if flat.null_count or len(flat) != rows * size:
        found = "empty values" if flat.null_count else f"{len(flat)} numbers in {rows} rows"
        raise StoreError(f"{place} has {found}; expected {size} numbers in each row")
    values = np.asarray(flat.to_numpy())
    if values.dtype.kind not in "biuf":
        raise StoreError(f"{place} holds {flat.type}; expected numbers of {np.dtype(dtype)}")
    return values.astype(dtype, copy=False).reshape(rows, size)


def from_pictures(pictures: Pictures) -> Any:
    """A column of png files, as the `datasets` library embeds pictures."""
    arrow = pyarrow()
    files = []
    for picture in pictures:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, format="PNG")
        files.append({"bytes": file.getvalue(), "path": None})
    return arrow.array(files, arrow.struct({"bytes": arrow.binary(), "path": arrow.string()}))


def to_pictures(place: str, column: Any, height: int, width: int) -> Pictures:
    """The pictures of a column of png, jpeg or webp files.

    Raises:
        StoreError: No picture in a row, one that cannot be decoded, or one of another size.
    """
    pictures = np.empty((len(column), height, width, 3), np.uint8)
    for row, value in enumerate(column):
        content = value.as_py()
        content = content.get("bytes") if isinstance(content, dict) else content
        if not isinstance(content, bytes):
            raise StoreError(f"{place}, row {row} holds no picture; expected the bytes of one (embed the images first)")
        try:
            with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
                if image.size != (width, height):  # before decoding: a few bytes may claim to be a huge picture
                    raise StoreError(
                        f"{place}, row {row} is {image.size[1]} x {image.size[0]}; expected {height} x {width}"
                    )
                pictures[row] = np.asarray(image.convert("RGB"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            if isinstance(error, StoreError):
                raise
            raise StoreError(f"{place}, row {row} cannot be decoded: {one_line(error)}; copy the file again") from error
    return pictures


def tasks_table(tasks: list[str]) -> Any:
    """The table of tasks; LeRobot looks them up by pandas' index, which only pandas' own metadata can tell it."""
    arrow = pyarrow()
    table = arrow.table({"task_index": arrow.array(range(len(tasks)), arrow.int64()), "task": tasks})
    columns = [
        {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": stored, "metadata": None}
        for name, kind, stored in (("task_index", "int64", "int64"), ("task", "unicode", "object"))
    ]
    described = {"index_columns": ["task"], "column_indexes": [], "columns": columns, "pandas_version": "2.2.0"}
    return table.replace_schema_metadata({"pandas": json.dumps(described)})
