"""Publish the marks: records from logs, statistics, one static page. Never imports torch."""
