// The element types that this module's functions take and give.
@_exported import ElementTypes
