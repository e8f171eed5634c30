"""The example application: events with reminders, and five kinds of follow-up."""
