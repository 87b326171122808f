return function(n)
  -- said once more
  return n + 1 -- % # "quoted"
end
