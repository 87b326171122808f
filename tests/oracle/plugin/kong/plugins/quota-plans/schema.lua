return {
  name = "quota-plans",
  fields = {
    { config = { type = "record", fields = {} } },
  },
}
