"""The app: ``slm-lens app``. What it does is in plain functions; gradio is in `blocks` alone."""
