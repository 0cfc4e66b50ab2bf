"""What the notebooks say of a run, and how it looks: tables, figures, pages and the index of all runs."""
