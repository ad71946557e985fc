"""Reports: tables to the terminal and files to a folder, from result objects only."""
