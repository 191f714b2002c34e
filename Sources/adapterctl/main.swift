print("adapterctl")
