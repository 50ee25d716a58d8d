"""What things are: words, tables, money, arrays. No I/O, no clock."""
