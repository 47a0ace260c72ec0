"""The Measure panel: measurements of labels as a table, and two labels layers compared."""
