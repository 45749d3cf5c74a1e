"""Pages about demonstrations: self-contained HTML for what `inspect` and `doctor` found."""
