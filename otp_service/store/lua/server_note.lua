-- Notes that the server was restarted, or that another took over: the last writes may be lost.
-- include clock mirror
for i = key.rest, #KEYS do
  mirror.server_since(KEYS[i])
  if arg.is_current == '1' then mirror.note_compared(KEYS[i]) end
end
