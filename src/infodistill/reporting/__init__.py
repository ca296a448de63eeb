"""What people look at: HTML pages, pictures, and the sections of a report."""
