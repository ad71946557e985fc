"""Do speech and text states meet?"""
