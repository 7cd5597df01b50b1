"""The course: three lessons on write-ahead logging whose claims are commands, and their quizzes.

lessons/N-name.md     the text; its `sh` blocks are the exercises, the lists behind them claims
quizzes/N-name.toml   the questions
"""
