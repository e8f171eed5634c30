"""The matrix of docs/findings.md: every design of this project in every scenario of a full comparison."""
