"""All installed contenders through all scenarios that apply: the tables of docs/contenders.md."""
