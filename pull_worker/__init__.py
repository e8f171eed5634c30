"""The naive poller: beat in each server looks through the application's events table."""
