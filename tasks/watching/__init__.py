"""The monitor: every instance is asked every few seconds, over a kept connection, and what it says becomes rows.

`monitor` goes round, `watcher` asks one instance, `reach` is the way to it and `threads` where that blocks, `minute` remembers samples
until they are stored, `store` is all of its SQL on the panel's database. It looks and writes rows of the
panel; it changes nothing on a server.
"""
